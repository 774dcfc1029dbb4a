"""A small web application: one page and a health check."""

from flask import Flask, jsonify, render_template, request

app = Flask(__name__)


@app.get("/")
def page():
    return render_template("page.html", name=request.args.get("name", "world"))


@app.get("/health")
def health():
    return jsonify(status="ok")


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5000)

//! A minimal HTTP/1.1 server: one request after the other on a connection, bodies with a length or chunked.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};

/// A request that was read to its end.
#[derive(Clone, Debug)]
pub(in super::super) struct Request {
    pub(in super::super) method: String,
    /// Without the query.
    pub(in super::super) path: String,
    pub(in super::super) query: BTreeMap<String, String>,
    /// Path and query as they came.
    pub(in super::super) target: String,
    /// By name in lower case.
    pub(in super::super) headers: BTreeMap<String, String>,
    pub(in super::super) body: Vec<u8>,
}

/// What is sent back.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Answer {
    pub(in super::super) status: u16,
    pub(in super::super) headers: Vec<(String, String)>,
    pub(in super::super) body: Vec<u8>,
    /// What happens to the body on its way.
    pub(in super::super) delivery: Delivery,
}

/// How a body is delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) enum Delivery {
    #[default]
    Whole,
    /// The connection is closed after so many bytes.
    BreakAfter(usize),
    /// Nothing more comes after so many bytes, and the connection stays open.
    StallAfter(usize),
    /// The connection is closed without an answer.
    HangUp,
    /// In chunks, so that nothing says in advance how long it is.
    Chunked,
}

impl Answer {
    pub(in super::super) fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(in super::super) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(in super::super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// Accepts connections for as long as the runtime runs.
pub(in super::super) async fn serve(
    listener: TcpListener,
    respond: Arc<dyn Fn(&Request) -> Answer + Send + Sync>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let respond = Arc::clone(&respond);
        tokio::spawn(async move {
            // A client that goes away is none of our business.
            drop(connection(stream, respond).await);
        });
    }
}

async fn connection(
    stream: TcpStream,
    respond: Arc<dyn Fn(&Request) -> Answer + Send + Sync>,
) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        let answer = respond(&request);
        if !write_answer(&mut stream, &request, answer).await? {
            break;
        }
    }
    stream.shutdown().await
}

async fn read_line(stream: &mut BufStream<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

async fn read_request(stream: &mut BufStream<TcpStream>) -> io::Result<Option<Request>> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let first = read_line(stream).await?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let method = words.next().ok_or_else(bad)?.to_owned();
    let target = words.next().ok_or_else(bad)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked"))
    {
        loop {
            let line = read_line(stream).await?;
            let length = u64::from_str_radix(line.trim(), 16).map_err(|_| bad())?;
            read_exactly(stream, length, &mut body).await?;
            read_line(stream).await?;
            if length == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        read_exactly(stream, length.parse().map_err(|_| bad())?, &mut body).await?;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    });
    Ok(Some(Request {
        method,
        path: decode(path),
        query: query.collect(),
        headers,
        body,
        target: target.clone(),
    }))
}

async fn read_exactly(
    stream: &mut BufStream<TcpStream>,
    length: u64,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    let before = body.len() as u64;
    stream.take(length).read_to_end(body).await?;
    if body.len() as u64 == before + length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes an answer; `false` if the connection is to be closed.
async fn write_answer(
    stream: &mut BufStream<TcpStream>,
    request: &Request,
    answer: Answer,
) -> io::Result<bool> {
    let Answer {
        status,
        mut headers,
        body,
        delivery,
    } = answer;
    if matches!(delivery, Delivery::HangUp) {
        return Ok(false);
    }
    let chunked = matches!(delivery, Delivery::Chunked);
    if chunked {
        headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
    } else if !headers.iter().any(|(name, _)| name == "Content-Length") {
        headers.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    let mut head = format!("HTTP/1.1 {status} {}\r\n", phrase(status));
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if request.method == "HEAD" {
        stream.flush().await?;
        return Ok(true);
    }
    let sent = match delivery {
        Delivery::BreakAfter(count) | Delivery::StallAfter(count) => count.min(body.len()),
        _ => body.len(),
    };
    if chunked {
        for chunk in body.chunks(1000) {
            let size = format!("{:x}\r\n", chunk.len());
            stream.write_all(size.as_bytes()).await?;
            stream.write_all(chunk).await?;
            stream.write_all(b"\r\n").await?;
        }
        stream.write_all(b"0\r\n\r\n").await?;
    } else {
        stream.write_all(&body[..sent]).await?;
    }
    stream.flush().await?;
    if matches!(delivery, Delivery::StallAfter(_)) {
        // Until the client has had enough.
        stream.read_u8().await?;
    }
    Ok(!matches!(
        delivery,
        Delivery::BreakAfter(_) | Delivery::StallAfter(_)
    ))
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        404 => "Not Found",
        _ => "Status",
    }
}

/// Undoes `%41` and `+`.
pub(in super::super) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

//! The tree as text: for expectations in tests and for people who want to see how a file was understood. Stable, complete,
//! and with the place of everything as `line:column`.

use std::fmt::{Debug, Write as _};

use super::ast::{
    AddInstruction, ArgInstruction, Assignments, Command, CopyInstruction, CopySource, Dockerfile,
    FromInstruction, Healthcheck, Heredoc, Instruction, InstructionKind, RunCommand,
    RunInstruction, Word,
};
use super::mount::MountSpec;
use crate::source::{SourceFile, Span};

/// Renders a tree that was made from `file`.
#[must_use]
pub fn dump(dockerfile: &Dockerfile, file: &SourceFile) -> String {
    let mut dump = Dump {
        text: String::new(),
        depth: 0,
        file,
    };
    dump.dockerfile(dockerfile);
    dump.text
}

struct Dump<'f> {
    text: String,
    depth: usize,
    file: &'f SourceFile,
}

impl Dump<'_> {
    fn line(&mut self, line: &str) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn inner(&mut self, body: impl FnOnce(&mut Self)) {
        self.depth += 1;
        body(self);
        self.depth -= 1;
    }

    fn place(&self, span: Span) -> String {
        let (start, end) = (
            self.file.line_column(span.start),
            self.file.line_column(span.end),
        );
        let mut place = format!("{}:{}", start.line, start.column);
        if end.line != start.line {
            write!(place, "-{}:{}", end.line, end.column).unwrap_or_default();
        } else if end.column != start.column {
            write!(place, "-{}", end.column).unwrap_or_default();
        }
        place
    }

    fn spanned(&mut self, name: &str, value: &dyn Debug, span: Span) {
        let line = format!("{name} {value:?} @{}", self.place(span));
        self.line(&line);
    }

    fn word(&mut self, name: &str, word: &Word) {
        self.spanned(name, &word.text, word.span);
    }

    fn words<'w>(&mut self, name: &str, words: impl IntoIterator<Item = &'w Word>) {
        for word in words {
            self.word(name, word);
        }
    }

    fn switch<T: Debug + PartialEq>(&mut self, name: &str, value: &T, default: &T) {
        if value != default {
            self.line(&format!("{name} {value:?}"));
        }
    }

    fn dockerfile(&mut self, dockerfile: &Dockerfile) {
        let directives = &dockerfile.directives;
        if let Some(syntax) = &directives.syntax {
            self.spanned("syntax", &syntax.value, syntax.span);
        }
        if let Some(escape) = &directives.escape {
            self.spanned("escape", &escape.value, escape.span);
        }
        if let Some(check) = &directives.check {
            self.spanned("check", &check.value, check.span);
        }
        for arg in &dockerfile.global_args {
            self.instruction(arg, Self::arg);
        }
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            self.line(&format!("stage {index}"));
            self.inner(|dump| {
                dump.instruction(&stage.from, Self::from);
                for instruction in &stage.instructions {
                    dump.instruction(instruction, Self::kind);
                }
            });
        }
    }

    fn instruction<K>(&mut self, instruction: &Instruction<K>, body: impl FnOnce(&mut Self, &K)) {
        for comment in &instruction.comments {
            self.spanned("comment", &comment.value, comment.span);
        }
        self.spanned(
            &instruction.keyword.value,
            &instruction.text,
            instruction.span,
        );
        self.inner(|dump| body(dump, &instruction.kind));
    }

    fn kind(&mut self, kind: &InstructionKind) {
        match kind {
            InstructionKind::Add(add) => self.add(add),
            InstructionKind::Arg(arg) => self.arg(arg),
            InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command) => {
                self.command(command)
            }
            InstructionKind::Copy(copy) => self.copy(copy),
            InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => self.assignments(pairs),
            InstructionKind::Expose(words) => self.words("port", words),
            InstructionKind::Healthcheck(check) => self.healthcheck(check),
            InstructionKind::Maintainer(text) => self.line(&format!("maintainer {text:?}")),
            InstructionKind::Onbuild(onbuild) => {
                self.line(&format!("trigger {:?}", onbuild.text));
                self.instruction(&onbuild.inner, Self::kind);
            }
            InstructionKind::Run(run) => self.run(run),
            InstructionKind::Shell(elements) => self.line(&format!("shell {elements:?}")),
            InstructionKind::Stopsignal(word) => self.word("signal", word),
            InstructionKind::User(word) => self.word("user", word),
            InstructionKind::Volume(words) => self.words("path", words),
            InstructionKind::Workdir(word) => self.word("path", word),
        }
    }

    fn from(&mut self, from: &FromInstruction) {
        self.word("image", &from.image);
        self.words("platform", &from.platform);
        if let Some(name) = &from.name {
            self.spanned("as", &name.as_keyword.value, name.as_keyword.span);
            self.spanned(
                &format!("name {:?}", name.lower),
                &name.written.value,
                name.written.span,
            );
        }
    }

    fn arg(&mut self, arg: &ArgInstruction) {
        for declaration in &arg.declarations {
            self.word("name", &declaration.name);
            self.words("default", &declaration.default);
        }
    }

    fn assignments(&mut self, assignments: &Assignments) {
        self.switch("legacy", &assignments.legacy, &false);
        for (name, value) in &assignments.pairs {
            self.word("name", name);
            self.word("value", value);
        }
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Shell(text) => self.line(&format!("shell-form {text:?}")),
            Command::Exec(elements) => self.line(&format!("exec-form {elements:?}")),
        }
    }

    fn run(&mut self, run: &RunInstruction) {
        match &run.command {
            RunCommand::Plain(command) => self.command(command),
            RunCommand::Script(_) => self.line("script"),
            RunCommand::Executable(_) => self.line("executable"),
            RunCommand::Reassembled { text, line, .. } => {
                self.line(&format!("reassembled {text:?}"));
                self.line(&format!("line {line:?}"));
            }
        }
        for heredoc in run.command.heredocs() {
            self.heredoc(heredoc);
        }
        for mount in &run.mounts {
            self.mount(mount);
        }
        if let Some(network) = &run.network {
            self.spanned("network", &network.value, network.span);
        }
        if let Some(security) = &run.security {
            self.spanned("security", &security.value, security.span);
        }
        for device in &run.devices {
            self.spanned("device", &device.value, device.span);
        }
    }

    fn mount(&mut self, mount: &MountSpec) {
        let line = format!("mount @{}", self.place(mount.span));
        self.line(&line);
        self.inner(|dump| {
            for field in &mount.fields {
                match &field.value {
                    Some(value) => dump.word(&field.key.value, value),
                    None => dump.line(&field.key.value),
                }
            }
        });
    }

    fn heredoc(&mut self, heredoc: &Heredoc) {
        self.spanned("heredoc", &heredoc.name, heredoc.marker);
        self.inner(|dump| {
            dump.switch("file-descriptor", &heredoc.file_descriptor, &None);
            dump.switch("strip-tabs", &heredoc.strip_tabs, &false);
            dump.switch("expand", &heredoc.expand, &true);
            dump.spanned("body", &heredoc.body, heredoc.body_span);
        });
    }

    fn sources(&mut self, sources: &[CopySource], destination: &Word, json: bool) {
        self.switch("json", &json, &false);
        for source in sources {
            match source {
                CopySource::Path(path) => self.word("source", path),
                CopySource::Heredoc(heredoc) => self.heredoc(heredoc),
            }
        }
        self.word("destination", destination);
    }

    fn copy(&mut self, copy: &CopyInstruction) {
        self.sources(&copy.sources, &copy.destination, copy.json);
        self.words("from", &copy.from);
        self.words("chown", &copy.chown);
        self.words("chmod", &copy.chmod);
        self.switch("link", &copy.link, &false);
        self.switch("parents", &copy.parents, &false);
        self.words("exclude", &copy.exclude);
    }

    fn add(&mut self, add: &AddInstruction) {
        self.sources(&add.sources, &add.destination, add.json);
        self.words("chown", &add.chown);
        self.words("chmod", &add.chmod);
        self.switch("link", &add.link, &false);
        self.words("exclude", &add.exclude);
        self.switch("keep-git-dir", &add.keep_git_dir, &None);
        self.words("checksum", &add.checksum);
        self.switch("unpack", &add.unpack, &None);
    }

    fn healthcheck(&mut self, check: &Healthcheck) {
        let Healthcheck::Cmd(check) = check else {
            return self.line("none");
        };
        self.command(&check.command);
        self.switch("interval", &check.interval, &None);
        self.switch("timeout", &check.timeout, &None);
        self.switch("start-period", &check.start_period, &None);
        self.switch("start-interval", &check.start_interval, &None);
        self.switch("retries", &check.retries, &0);
    }
}

//! One HTTP request to a port of the loopback device, here or inside a container that has no other network.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// A port that nobody listens on at the moment.
#[track_caller]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

/// `GET PATH` from the loopback device.
///
/// # Errors
/// Nobody answers, or what answers does not speak HTTP.
pub fn get(port: u16, path: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let parsed = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let body = body.to_owned();
        Some(Response { status, body })
    });
    parsed.ok_or_else(|| io::Error::other(format!("this is no HTTP: {answer:?}")))
}

/// `GET PATH` from the loopback device of the network namespace in which process `pid` lives. Needs root.
///
/// # Errors
/// As [`get`], or the process is gone.
pub fn get_inside(pid: u32, port: u16, path: &str) -> io::Result<Response> {
    let namespace = builder::fsio::open(PathBuf::from(format!("/proc/{pid}/ns/net")))
        .map_err(io::Error::other)?;
    // A thread of its own, because it does not come back out of the namespace.
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            get(port, path)
        });
        visitor.join().expect("the visitor does not panic")
    })
}

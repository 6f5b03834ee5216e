//! The host's name servers, for functions that ask at the address announced to them.
//!
//! Must not understand names: questions and answers pass as they are.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{
    DATAGRAM_BYTES, DNS_PORT,
    datagrams::{RECEIVING, try_receive},
};

/// So many name servers are asked, as the C library does.
const SERVERS: usize = 3;

/// A name server that has not answered in this time is left for the next.
const PATIENCE: Duration = Duration::from_secs(3);

/// Bytes before the first question of a message.
const HEADER_BYTES: usize = 12;

/// The name servers that a file tells.
#[derive(Debug)]
pub(super) struct Names {
    configuration: PathBuf,
    /// Where they listen.
    port: u16,
}

impl Names {
    /// Those of a file like `/etc/resolv.conf`. It is read for each question, as it changes with the host's network.
    pub(super) fn new(configuration: &Path) -> Names {
        Names { configuration: configuration.to_owned(), port: DNS_PORT }
    }

    /// The answer of the first that gives one, or that no server did. `None` for what is no question.
    pub(super) async fn ask(&self, question: Vec<u8>) -> Option<Vec<u8>> {
        for server in self.servers().await {
            match timeout(PATIENCE, ask(server, &question)).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "failed to ask a name server"),
                Err(_) => tracing::debug!(%server, "a name server did not answer in time"),
            }
        }
        server_failure(question)
    }

    /// A connection to the first that accepts one.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let mut result = Err(io::ErrorKind::NotFound.into());
        for server in self.servers().await {
            result = match timeout(PATIENCE, TcpStream::connect(server)).await {
                Ok(connected) => connected,
                Err(elapsed) => Err(elapsed.into()),
            };
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn servers(&self) -> Vec<SocketAddr> {
        let text = tokio::fs::read_to_string(&self.configuration).await.unwrap_or_default();
        parse(&text).into_iter().map(|address| SocketAddr::new(address, self.port)).collect()
    }
}

/// The name servers that the text of `resolv.conf` tells, or who is asked without any: this host.
fn parse(text: &str) -> Vec<IpAddr> {
    let addresses = text.lines().filter_map(|line| {
        let (_, address) = line.trim().split_once("nameserver").filter(|(before, _)| before.is_empty())?;
        address.trim().parse::<IpAddr>().ok()
    });
    let mut servers: Vec<IpAddr> = addresses.take(SERVERS).collect();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    servers
}

async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let ours: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((ours, 0)).await?;
    // From then on it hears this server only.
    socket.connect(server).await?;
    socket.send(question).await?;
    loop {
        socket.ready(RECEIVING).await?;
        let mut answer = vec![0; DATAGRAM_BYTES];
        match try_receive(&socket, &mut answer) {
            Ok(length) => {
                answer.truncate(length);
                return Ok(answer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// The question, made the answer "server failure" (RFC 1035, section 4.1.1): whoever asks need not wait in vain.
fn server_failure(mut question: Vec<u8>) -> Option<Vec<u8>> {
    const RESPONSE: u8 = 0x80;
    const SERVER_FAILURE: u8 = 2;
    if question.len() < HEADER_BYTES || question[2] & RESPONSE != 0 {
        return None;
    }
    question[2] |= RESPONSE;
    question[3] = question[3] & 0xf0 | SERVER_FAILURE;
    Some(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_the_first_three_that_are_addresses() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\n nameserver\t127.0.0.53\nnameserver fe80::1%eth0\n\
                    nameserver 2001:db8::1\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0\n";
        let servers: Vec<String> = parse(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(servers, ["127.0.0.53", "2001:db8::1", "192.0.2.1"]);
        assert_eq!(parse("options edns0\n"), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }

    /// Name servers at these addresses, as a file tells them.
    fn names(addresses: &[&str], port: u16) -> (tempfile::TempDir, Names) {
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("resolv.conf");
        let text: String = addresses.iter().map(|address| format!("nameserver {address}\n")).collect();
        std::fs::write(&configuration, text).unwrap();
        (directory, Names { configuration, port })
    }

    #[tokio::test]
    async fn the_next_server_is_asked_where_one_is_not_there() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let (_directory, names) = names(&["127.0.0.2", "127.0.0.1"], port);
        let answering = async {
            let mut buffer = [0; 100];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"who?");
            server.send_to(b"me", from).await.unwrap();
        };
        let (answer, ()) = tokio::join!(names.ask(b"who?".to_vec()), answering);
        assert_eq!(answer.unwrap(), b"me");
    }

    #[tokio::test]
    async fn connections_go_to_the_next_server_too() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let (_directory, names) = names(&["127.0.0.2", "127.0.0.1"], port);
        let connection = names.connect().await.unwrap();
        assert_eq!(connection.peer_addr().unwrap(), server.local_addr().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for_forever() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (_directory, names) = names(&["127.0.0.1"], silent.local_addr().unwrap().port());
        let question = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\0".to_vec();
        assert_eq!(names.ask(question).await.unwrap()[3] & 0x0f, 2);
    }

    #[test]
    fn a_question_that_nobody_answers_is_a_server_failure() {
        let question = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\0\x01x\0\0\x01\0\x01".to_vec();
        let answer = server_failure(question.clone()).unwrap();
        assert_eq!(answer[..2], question[..2], "it is the answer to this question");
        assert_eq!(answer[2] & 0x80, 0x80);
        assert_eq!(answer[3] & 0x0f, 2);
        assert_eq!(answer[4..], question[4..]);
        assert_eq!(server_failure(answer), None, "an answer is not answered");
        assert_eq!(server_failure(b"short".to_vec()), None);
    }
}

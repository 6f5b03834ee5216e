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

use super::{DATAGRAM_BYTES, DNS_PORT};

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
}

impl Names {
    /// Those of a file like `/etc/resolv.conf`. It is read for each question, as it changes with the host's network.
    pub(super) fn new(configuration: &Path) -> Names {
        Names { configuration: configuration.to_owned() }
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
        parse(&tokio::fs::read_to_string(&self.configuration).await.unwrap_or_default())
    }
}

/// The name servers that the text of `resolv.conf` tells, or who is asked without any: this host.
fn parse(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let (_, address) = line.trim().split_once("nameserver").filter(|(before, _)| before.is_empty())?;
        address.trim().parse::<IpAddr>().ok()
    });
    let mut servers: Vec<SocketAddr> =
        addresses.take(SERVERS).map(|address| SocketAddr::new(address, DNS_PORT)).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT)));
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
    let mut answer = vec![0; DATAGRAM_BYTES];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
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
        let servers: Vec<String> = parse(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[2001:db8::1]:53", "192.0.2.1:53"]);
        assert_eq!(parse("options edns0\n"), ["127.0.0.1:53".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_server_hears_the_question_and_its_answer_comes_back() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let answering = async {
            let mut buffer = [0; 100];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"who?");
            server.send_to(b"me", from).await.unwrap();
        };
        let (answer, ()) = tokio::join!(ask(address, b"who?"), answering);
        assert_eq!(answer.unwrap(), b"me");
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

//! A scanner on a port of its own, which speaks as ClamAV's daemon does, and finds what the test tells it to find.

use std::io;
use std::sync::{Arc, Mutex};

use capecontrol::scan::Route;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What does harm, of everything that is scanned.
pub const HARM: &[u8] = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR";

#[derive(Default)]
struct Book {
    /// Everything that was scanned.
    scanned: Vec<Vec<u8>>,
    /// Whether it answers at all.
    ill: bool,
}

/// A running scanner. It stops when it is dropped.
pub struct ClamdServer {
    port: u16,
    book: Arc<Mutex<Book>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for ClamdServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl ClamdServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let book = Arc::new(Mutex::new(Book::default()));
        #[expect(clippy::disallowed_methods, reason = "kept in the struct, and stopped when it is dropped")]
        let serving = tokio::spawn({
            let book = Arc::clone(&book);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    // A client that hangs up is the client's affair.
                    let _ = scan(stream, &book).await;
                }
            }
        });
        Self { port, book, serving }
    }

    pub fn route(&self) -> Route {
        Route::Clamd(format!("127.0.0.1:{}", self.port))
    }

    /// From now on it fails, or does not any more.
    pub fn is_ill(&self, ill: bool) {
        self.book.lock().unwrap().ill = ill;
    }

    /// Everything that was scanned.
    pub fn scanned(&self) -> Vec<Vec<u8>> {
        self.book.lock().unwrap().scanned.clone()
    }
}

async fn scan(mut stream: TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let mut command = [0; 10];
    stream.read_exact(&mut command).await?;
    assert_eq!(&command, b"zINSTREAM\0");
    let mut bytes = Vec::new();
    loop {
        let length = usize::try_from(stream.read_u32().await?).unwrap();
        if length == 0 {
            break;
        }
        let mut piece = vec![0; length];
        stream.read_exact(&mut piece).await?;
        bytes.extend(piece);
    }
    let harmful = bytes.windows(HARM.len()).any(|window| window == HARM);
    let answer = if book.lock().unwrap().ill {
        "INSTREAM size limit exceeded. ERROR\0"
    } else if harmful {
        "stream: Eicar-Signature FOUND\0"
    } else {
        "stream: OK\0"
    };
    book.lock().unwrap().scanned.push(bytes);
    stream.write_all(answer.as_bytes()).await
}

//! A tonic server on a free port of the loopback, ended when dropped.

use std::net::SocketAddr;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    service::RoutesBuilder,
    transport::{Endpoint, Server as TonicServer},
};

pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(add: impl FnOnce(&mut RoutesBuilder) -> &mut RoutesBuilder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut routes = RoutesBuilder::default();
        add(&mut routes);
        let serve = TonicServer::builder().add_routes(routes.routes()).serve_with_incoming(TcpListenerStream::new(listener));
        Self { address, task: tokio::spawn(async move { serve.await.unwrap() }) }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

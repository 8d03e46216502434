//! The wire of exports.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use tonic::{Request, Response, Status};

use super::{Answers, Rpc};
use crate::chat::service::Exporting;
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::{self, decode as read};

impl Rpc {
    pub(super) async fn export(
        &self,
        request: Request<wire::ExportThreadRequest>,
    ) -> Result<Response<Answers<wire::ExportThreadResponse>>, Status> {
        let (caller, request) = rpc::open(request)?;
        let thread_id = read::only_id("thread_id", &request.thread_id)?;
        let exporting = self.service.export_thread(caller.clone(), thread_id).await?;
        let service = Arc::clone(&self.service);
        let parts = self.exports.parts(caller, exporting, move |exporting: Exporting| {
            let service = Arc::clone(&service);
            async move { service.export_on(exporting).await }
        });
        Ok(Response::new(Box::pin(parts.map_ok(|chunk| wire::ExportThreadResponse { chunk }))))
    }
}

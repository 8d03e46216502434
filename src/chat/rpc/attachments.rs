//! The wire of attachments.

use tonic::{Request, Response, Status};

use super::Rpc;
use crate::base::Violations;
use crate::chat::error::Error;
use crate::chat::model::attachment::{Announced, Attached, AttachmentState, Variant};
use crate::chat::service::Upload;
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::encode::timestamp;
use crate::rpc::{self, decode as read};

impl Rpc {
    pub(super) async fn begin_attachment(
        &self,
        request: Request<wire::CreateAttachmentRequest>,
    ) -> Result<Response<wire::CreateAttachmentResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let (thread_id, name) = (&request.thread_id, &request.file_name);
        let announced =
            Announced::parse(&mut violations, thread_id, name, request.size_bytes, &request.sha256);
        violations.finish()?;
        let Some(announced) = announced else { return Err(Error::Broken(None).into()) };
        let upload = self.service.create_attachment(&caller, announced, key.as_deref()).await?;
        Ok(Response::new(wire::CreateAttachmentResponse { attachment: Some(attachment(upload)) }))
    }

    pub(super) async fn take_part(
        &self,
        request: Request<wire::UploadAttachmentPartRequest>,
    ) -> Result<Response<wire::UploadAttachmentPartResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = read::only_id("attachment_id", &request.attachment_id)?;
        let (number, bytes) = (i64::from(request.part_number), request.data.into());
        let upload = self.service.upload_part(&caller, id, number, bytes).await?;
        Ok(Response::new(wire::UploadAttachmentPartResponse { attachment: Some(attachment(upload)) }))
    }

    pub(super) async fn end_attachment(
        &self,
        request: Request<wire::CompleteAttachmentRequest>,
    ) -> Result<Response<wire::CompleteAttachmentResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = read::only_id("attachment_id", &request.attachment_id)?;
        let upload = self.service.complete_attachment(&caller, id).await?;
        Ok(Response::new(wire::CompleteAttachmentResponse { attachment: Some(attachment(upload)) }))
    }

    pub(super) async fn link_attachment(
        &self,
        request: Request<wire::GetAttachmentLinkRequest>,
    ) -> Result<Response<wire::GetAttachmentLinkResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let id = read::id(&mut violations, "attachment_id", &request.attachment_id);
        let variant = variant(&mut violations, request.variant);
        violations.finish()?;
        let link = self.service.attachment_link(&caller, id, variant).await?;
        let expire_time = Some(timestamp(link.expires_at));
        Ok(Response::new(wire::GetAttachmentLinkResponse { url: link.url, expire_time }))
    }
}

fn variant(violations: &mut Violations, variant: i32) -> Variant {
    use wire::AttachmentVariant as Wire;
    match Wire::try_from(variant) {
        Ok(Wire::Unspecified | Wire::Original) => return Variant::Original,
        Ok(Wire::Preview) => return Variant::Preview,
        Err(_) => {}
    }
    violations.add("variant", "must be one of the variants that this server knows");
    Variant::Original
}

fn attachment(upload: Upload) -> wire::Attachment {
    let Upload { attachment, missing } = upload;
    wire::Attachment {
        id: attachment.id.to_string(),
        thread_id: attachment.thread_id.to_string(),
        part_count: small(attachment.parts()),
        part_size_bytes: small(attachment.part_bytes),
        missing_parts: missing.into_iter().map(small).collect(),
        file_name: attachment.file_name,
        size_bytes: attachment.size_bytes,
        state: state(attachment.state).into(),
        media_type: attachment.media_type.unwrap_or_default(),
        message_id: attachment.message_id.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(attachment.created_at)),
        expire_time: Some(timestamp(attachment.expires_at)),
    }
}

/// What was taken away nobody is told of.
const fn state(state: AttachmentState) -> wire::AttachmentState {
    match state {
        AttachmentState::Uploading => wire::AttachmentState::Uploading,
        AttachmentState::Scanning => wire::AttachmentState::Scanning,
        AttachmentState::Available => wire::AttachmentState::Available,
        AttachmentState::Refused => wire::AttachmentState::Refused,
        AttachmentState::Removed => wire::AttachmentState::Unspecified,
    }
}

pub(super) fn attached(attached: Attached) -> wire::MessageAttachment {
    wire::MessageAttachment {
        id: attached.id.to_string(),
        file_name: attached.file_name,
        media_type: attached.media_type,
        size_bytes: attached.size_bytes,
        has_preview: attached.preview,
    }
}

fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

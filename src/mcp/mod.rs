//! A server of the Model Context Protocol: tools for AI assistants. Each tool is a call to a running service, with the user's key
//! and under its scope and limits.

mod failure;
mod previews;
mod schema;
mod tools;

use std::time::Duration;

use rmcp::{
    RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::{RequestContext, ServerInitializeError},
    transport::stdio,
};

use self::tools::{Context, ToolEntry};
use crate::client::{ClientError, Services, Target};

/// How long a call to the service may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the server ends, except that its client closes the connection.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// The service cannot be called.
    #[error(transparent)]
    Service(#[from] ClientError),
    /// The program at the other end of stdin and stdout does not speak the protocol.
    #[error("the MCP client cannot be served: {0}")]
    Protocol(String),
}

/// Serves the tools on stdin and stdout until the client closes stdin. A key that may only read gets only the tools that read.
///
/// # Errors
/// When the service cannot be called at the start, or the client does not speak the protocol.
pub async fn serve(target: &Target) -> Result<(), McpError> {
    let (services, credentials) = Services::connect(target, CALL_TIMEOUT).await?;
    let may_write = credentials.scope == "write";
    let server = Server {
        tools: tools::all()
            .into_iter()
            .filter(|entry| may_write || !entry.writes)
            .collect(),
        context: Context::new(services),
        instructions: instructions(&credentials.organization_name, may_write),
    };
    let running = match server.serve(stdio()).await {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(McpError::Protocol(error.to_string())),
    };
    running
        .waiting()
        .await
        .map(drop)
        .map_err(|error| McpError::Protocol(error.to_string()))
}

/// What an assistant should know before it uses the tools.
fn instructions(organization: &str, may_write: bool) -> String {
    let changing = if may_write {
        "To change something, call the preview tool first, show its result to the user, and call the tool itself with the same \
         arguments and the previewToken only after the user has agreed."
    } else {
        "The API key may only read."
    };
    format!(
        "Which customer owns which device, in the organization {organization:?}. A device has an identifier, such as a serial \
         number, and any number of owners; a customer is named by an email address. {changing}"
    )
}

struct Server {
    tools: Vec<ToolEntry>,
    context: Context,
    instructions: String,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let program = Implementation::new("device-assignment", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(program.with_title("Device assignment"))
            .with_instructions(self.instructions.clone())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.iter().map(|entry| entry.tool.clone());
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(entry) = self.tools.iter().find(|entry| entry.tool.name == request.name) else {
            return Err(ErrorData::invalid_params("there is no tool with this name", None));
        };
        let result = match entry.call(&self.context, request.arguments.unwrap_or_default()).await {
            Ok(answer) => CallToolResult::structured(answer),
            Err(failure) => CallToolResult::structured_error(failure.to_json()),
        };
        Ok(result.into())
    }
}

"""Starts an MCP server, the command in the arguments, and calls its tools.

The first line that it prints has the instructions and the tools of the server. Each line of standard input is a call, with the members
`tool` and `arguments`, and gets a line with the result. The client checks results against the schemas of the tools.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client


def show(value):
    print(json.dumps(value), flush=True)


async def main(command, *arguments):
    # The client passes on only some variables by itself.
    server = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        hello = await session.initialize()
        listed = await session.list_tools()
        tools = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed.tools]
        show({"instructions": hello.instructions, "tools": tools})
        while line := await asyncio.to_thread(sys.stdin.readline):
            call = json.loads(line)
            try:
                result = await session.call_tool(call["tool"], call["arguments"])
                show(result.model_dump(mode="json", by_alias=True, exclude_none=True))
            except MCPError as error:
                show({"protocolError": str(error)})


asyncio.run(main(*sys.argv[1:]))

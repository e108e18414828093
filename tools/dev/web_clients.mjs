// Calls a gateway with @connectrpc/connect-web, as a page would, by each protocol that it speaks.
// Usage: node web_clients.mjs URL IMAGE MODEL; see web_clients.py, which runs it.
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

const [baseUrl, image, model] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(image)));
const service = registry.getService("inferloom.v1.InferenceService");
const errorInfo = registry.getMessage("google.rpc.ErrorInfo");

const transports = {
  "connect, JSON": createConnectTransport({ baseUrl, useHttpGet: true }),
  "connect, binary": createConnectTransport({ baseUrl, useBinaryFormat: true, useHttpGet: true }),
  "grpc-web, binary": createGrpcWebTransport({ baseUrl }),
  "grpc-web, JSON": createGrpcWebTransport({ baseUrl, useBinaryFormat: false }),
};

function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`);
}

async function refusal(act) {
  try {
    await act();
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("not refused");
}

const ask = { model, input: { case: "text", value: "Once upon a time" }, sampling: { temperature: 0 } };

const checks = {
  async "one response"(client) {
    const { models } = await client.listModels({});
    check(models.some((each) => each.id === model), "the model is listed");
    const { tokenIds } = await client.tokenize({ model, input: { case: "text", value: "Hi" } });
    check((await client.detokenize({ model, tokenIds })).text === "Hi", "tokens come back as text");
  },
  async "a stream"(client) {
    const seen = [];
    for await (const { event } of client.generate({ ...ask, stopping: { maxTokens: 8 } })) seen.push(event.case);
    check(seen[0] === "started" && seen.at(-1) === "completed", "it has a beginning and an end");
    check(seen.includes("delta"), "and something between");
  },
  async "a refusal"(client) {
    for (const call of [
      () => client.tokenize({ model: "nobody", input: { case: "text", value: "Hi" } }),
      async () => {
        for await (const _ of client.generate({ ...ask, model: "nobody" }));
      },
    ]) {
      const error = await refusal(call);
      check(error.code === Code.NotFound, `not_found, and not ${error.code}: ${error.message}`);
      if (errorInfo) check(error.findDetails(errorInfo)[0]?.reason === "MODEL_NOT_FOUND", "its reason");
      else check(error.details.length > 0, "its details");
    }
  },
  async "leaving"(client) {
    const leave = new AbortController();
    const error = await refusal(async () => {
      for await (const _ of client.generate({ ...ask, stopping: { maxTokens: 400 } }, { signal: leave.signal }))
        leave.abort();
    });
    check(error.code === Code.Canceled, "canceled");
  },
  async "a deadline"(client) {
    const error = await refusal(async () => {
      for await (const _ of client.generate({ ...ask, stopping: { maxTokens: 4000 } }, { timeoutMs: 1 }));
    });
    check(error.code === Code.DeadlineExceeded, `deadline_exceeded, and not ${error.code}: ${error.message}`);
  },
};

let failed = 0;
for (const [name, transport] of Object.entries(transports)) {
  const client = createClient(service, transport);
  for (const [what, run] of Object.entries(checks)) {
    let outcome = "ok";
    try {
      await run(client);
    } catch (error) {
      outcome = `FAILED: ${error}`;
      failed += 1;
    }
    console.log(`${name.padEnd(18)}${what.padEnd(14)}${outcome}`);
  }
}
process.exit(failed ? 1 : 0);

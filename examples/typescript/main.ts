// Streams the answer to one message: npm start -- URL MODEL MESSAGE
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { InferenceService, Role } from "./gen/inferloom/v1/inference_pb.js";

const [url, model, message] = process.argv.slice(2);
if (!url || !model || !message) {
  console.error("usage: main URL MODEL MESSAGE");
  process.exit(2);
}

const client = createClient(InferenceService, createGrpcTransport({ baseUrl: url }));
try {
  const events = client.generate(
    {
      model,
      input: {
        case: "chat",
        value: { messages: [{ role: Role.USER, parts: [{ part: { case: "text", value: message } }] }] },
      },
      sampling: { temperature: 0 },
      stopping: { maxTokens: 64 },
    },
    { timeoutMs: 60_000 }, // bounds queueing and decoding
  );
  for await (const { event } of events) {
    if (event.case === "delta") process.stdout.write(event.value.text);
    if (event.case === "completed") console.log(`\n${event.value.usage?.completionTokens} tokens`);
  }
} catch (failure) {
  const error = ConnectError.from(failure);
  console.error(`${Code[error.code]}: ${error.rawMessage}`);
  process.exit(1);
}

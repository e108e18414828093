// A request's text in other languages. Pure.

const KEY = "INFERLOOM_API_KEY";

// What the OpenAI SDK has as arguments of chat.completions.create; everything else goes into extra_body.
const KNOWN = new Set(
  ("model messages audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens " +
    "metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort response_format " +
    "safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p " +
    "user verbosity").split(" "),
);

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const json = (value) => JSON.stringify(value, null, 2);

export function curl(body, origin, keyed) {
  const auth = keyed ? ` \\\n  -H "authorization: Bearer $${KEY}"` : "";
  return `curl ${body.stream ? "-N " : ""}${origin}/v1/chat/completions \\\n  -H 'content-type: application/json'${auth} \\\n  -d ${quoted(json(body))}`;
}

export function grpcurl(request, address, { protocol, hostname }, keyed) {
  const plain = protocol === "https:" ? "" : " -plaintext";
  const auth = keyed ? ` \\\n  -H "authorization: Bearer $${KEY}"` : "";
  const host = hostname.includes(":") && !hostname.startsWith("[") ? `[${hostname}]` : hostname;
  const where = `${host}:${address.slice(address.lastIndexOf(":") + 1)}`;
  return `grpcurl${plain}${auth} \\\n  -d ${quoted(json(request))} \\\n  ${where} inferloom.v1.InferenceService/Generate`;
}

// A JSON value as Python writes it.
export function literal(value, indent = "") {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const parts = Array.isArray(value)
    ? value.map((each) => literal(each, inner))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${literal(each, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const short = `${open}${parts.join(", ")}${close}`;
  if (short.length <= 72 && !short.includes("\n")) return short;
  return `${open}\n${parts.map((part) => `${inner}${part},\n`).join("")}${indent}${close}`;
}

export function python(body, origin, keyed) {
  const more = Object.fromEntries(Object.entries(body).filter(([name]) => !KNOWN.has(name)));
  const known = Object.entries(body).filter(([name]) => KNOWN.has(name));
  if (Object.keys(more).length) known.push(["extra_body", more]);
  const args = known.map(([name, value]) => `    ${name}=${literal(value, "    ")},\n`).join("");
  const made = `client.chat.completions.create(\n${args})`;
  const secret = keyed ? `os.environ["${KEY}"]` : '"none"';
  const head = `${keyed ? "import os\n\n" : ""}from openai import OpenAI\n\nclient = OpenAI(base_url=${JSON.stringify(`${origin}/v1`)}, api_key=${secret})\n\n`;
  if (!body.stream) return `${head}answer = ${made}\nprint(answer.choices[0].message)\n`;
  return `${head}for chunk in ${made}:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)\nprint()\n`;
}

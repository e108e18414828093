// The AI SDK, by its provider for servers that are like OpenAI's.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { check, job, model as name, run, url } from './jobs.mjs';

const mesh = createOpenAICompatible({ name: 'mesh', baseURL: url, apiKey: 'none', supportsStructuredOutputs: true });
const model = mesh(name);
const prompt = 'Say hello to Ada, who is 36.';
const weather = tool({
  description: 'The weather of a city.',
  inputSchema: z.object({ city: z.string() }),
  execute: async () => 'Sunny.',
});

job('chat', async () => {
  check((await generateText({ model, prompt, maxOutputTokens: 16 })).text);
});

job('stream', async () => {
  let text = '';
  for await (const part of streamText({ model, prompt, maxOutputTokens: 16 }).textStream) text += part;
  check(text);
});

job('tools', async () => {
  const { steps } = await generateText({
    model, prompt, tools: { weather }, toolChoice: 'required', stopWhen: stepCountIs(1), maxOutputTokens: 64,
  });
  check(steps[0].toolCalls[0].toolName === 'weather');
});

job('streamed tools', async () => {
  const said = streamText({ model, prompt, tools: { weather }, toolChoice: 'required', maxOutputTokens: 64 });
  check((await said.toolCalls).length);
});

job('structured output', async () => {
  const schema = z.object({ name: z.string(), age: z.number().int() });
  const { object } = await generateObject({ model, prompt, schema, maxOutputTokens: 64, temperature: 0 });
  check(Number.isInteger(object.age));
});

job('addresses', async () => {
  const schema = z.object({ email: z.email() });
  const { object } = await generateObject({ model, prompt, schema, maxOutputTokens: 64, temperature: 0 });
  check(schema.safeParse(object).success);
});

job('embeddings', async () => {
  const { embeddings } = await embedMany({ model: mesh.textEmbeddingModel(name), values: ['One.', 'Two.'] });
  check(embeddings.length === 2);
});

await run();

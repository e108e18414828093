// OpenAI's own SDK in JavaScript.

import OpenAI from 'openai';
import { zodResponseFormat, zodFunction } from 'openai/helpers/zod';
import { z } from 'zod';
import { check, job, model, run, url } from './jobs.mjs';

const client = new OpenAI({ baseURL: url, apiKey: 'none' });
const messages = [{ role: 'user', content: 'Say hello to Ada, who is 36.' }];
const Person = z.object({ name: z.string(), age: z.number().int() });

job('chat', async () => {
  const answer = await client.chat.completions.create({ model, messages, max_tokens: 16 });
  check(answer.choices[0].message.content);
});

job('stream', async () => {
  let text = '';
  for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 16, stream: true }))
    text += chunk.choices[0]?.delta?.content ?? '';
  check(text);
});

job('tools', async () => {
  const tools = [zodFunction({ name: 'weather', parameters: z.object({ city: z.string() }) })];
  const answer = await client.chat.completions.parse({ model, messages, tools, tool_choice: 'required', max_tokens: 64 });
  check(typeof answer.choices[0].message.tool_calls[0].function.parsed_arguments.city === 'string');
});

job('streamed tools', async () => {
  const tools = [zodFunction({ name: 'weather', parameters: z.object({ city: z.string() }) })];
  const stream = client.chat.completions.stream({ model, messages, tools, tool_choice: 'required', max_tokens: 64 });
  check((await stream.finalChatCompletion()).choices[0].message.tool_calls.length);
});

job('structured output', async () => {
  const response_format = zodResponseFormat(Person, 'person');
  const answer = await client.chat.completions.parse({ model, messages, response_format, max_tokens: 64, temperature: 0 });
  check(Number.isInteger(answer.choices[0].message.parsed.age));
});

job('addresses and times', async () => {
  const Contact = z.object({ email: z.email(), day: z.iso.date(), wait: z.iso.duration(), host: z.hostname() });
  const response_format = zodResponseFormat(Contact, 'contact');
  const answer = await client.chat.completions.parse({ model, messages, response_format, max_tokens: 200, temperature: 0 });
  check(Contact.safeParse(answer.choices[0].message.parsed).success);
});

job('responses', async () => {
  check((await client.responses.create({ model, input: 'Say hello.', max_output_tokens: 16 })).output_text);
  const stream = client.responses.stream({ model, input: 'Say hello.', max_output_tokens: 400 });
  check((await stream.finalResponse()).output.length);
});

job('embeddings', async () => {
  check((await client.embeddings.create({ model, input: ['One.', 'Two.'] })).data.length === 2);
});

await run();

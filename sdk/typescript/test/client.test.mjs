import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { ApiError, connect, consumeCredits, getCredits, idempotencyKey, listInvoices, paginate } from '../dist/index.js';

let server, baseUrl, handler;
before(async () => {
  server = createServer((req, res) => handler(req, res));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${server.address().port}`;
});
after(() => server.close());

const answer = (res, status, body) => {
  res.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json', 'Retry-After': '0' });
  res.end(JSON.stringify(body));
};

test('a refusal is thrown with its code, credential and account are sent', async () => {
  handler = (req, res) => {
    assert.equal(req.headers['x-api-key'], 'sk_1');
    assert.equal(req.headers.authorization, undefined);
    assert.equal(req.headers['saaskit-account'], 'acc');
    answer(res, 402, { type: 't', title: 't', status: 402, code: 'insufficient_credits', request_id: 'r' });
  };
  const client = connect({ baseUrl, apiKey: 'sk_1', account: 'acc' });
  await assert.rejects(
    consumeCredits({ client, body: { amount: 5 } }),
    (error) => error instanceof ApiError && error.code === 'insufficient_credits' && error.status === 402,
  );
});

test('what is safe is tried again, with the same body and key', async () => {
  const bodies = [];
  handler = async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    bodies.push(body + req.headers['idempotency-key']);
    if (bodies.length < 3) return answer(res, 503, {});
    answer(res, 200, { transaction_id: 'x', amount: 5, available: 1 });
  };
  const client = connect({ baseUrl, apiKey: 'sk_1' });
  const { data } = await consumeCredits({ client, headers: { 'Idempotency-Key': idempotencyKey() }, body: { amount: 5 } });
  assert.equal(data.available, 1);
  assert.equal(bodies.length, 3);
  assert.equal(new Set(bodies).size, 1);
});

test('a request that is still worked on is asked for again, any other conflict is not', async () => {
  for (const [code, want] of [['idempotency_in_progress', 2], ['idempotency_key_reused', 1]]) {
    let calls = 0;
    handler = (req, res) =>
      ++calls === 2
        ? answer(res, 200, { transaction_id: 'x', amount: 5, available: 1 })
        : answer(res, 409, { type: 't', title: 't', status: 409, code, request_id: 'r' });
    const call = consumeCredits({ client: connect({ baseUrl, apiKey: 'sk_1' }), headers: { 'Idempotency-Key': idempotencyKey() }, body: { amount: 5 } });
    if (want === 2) await call;
    else await assert.rejects(call, (error) => error instanceof ApiError && error.code === code);
    assert.equal(calls, want);
  }
});

test('an abort ends the pause before the next try', async () => {
  const aborting = new AbortController();
  let calls = 0;
  handler = (req, res) => {
    calls++;
    res.writeHead(503, { 'Retry-After': '20' });
    res.end(() => setTimeout(() => aborting.abort(), 100));
  };
  const begun = Date.now();
  await assert.rejects(getCredits({ client: connect({ baseUrl, apiKey: 'sk_1' }), signal: aborting.signal }), (error) => error.name === 'AbortError');
  assert.ok(Date.now() - begun < 5000, `it took ${Date.now() - begun} ms`);
  assert.equal(calls, 1);
});

test('a POST without a key is sent once', async () => {
  let calls = 0;
  handler = (req, res) => answer(res, 503, { calls: ++calls });
  const client = connect({ baseUrl, apiKey: 'sk_1' });
  await assert.rejects(consumeCredits({ client, body: { amount: 5 } }), (error) => error.status === 503);
  assert.equal(calls, 1);
});

test('a token that is a function is asked for each request', async () => {
  const seen = [];
  handler = (req, res) => {
    seen.push(req.headers.authorization);
    answer(res, 200, { available: 0, held: 0, balance: 0, lots: [] });
  };
  let n = 0;
  const client = connect({ baseUrl, token: async () => `t${++n}` });
  await getCredits({ client });
  await getCredits({ client });
  assert.deepEqual(seen, ['Bearer t1', 'Bearer t2']);
});

test('paginate walks the pages', async () => {
  handler = (req, res) => {
    const cursor = new URL(req.url, baseUrl).searchParams.get('cursor');
    answer(res, 200, cursor === 'b' ? { data: [{ id: 'in_3' }] } : { data: [{ id: 'in_1' }, { id: 'in_2' }], next_cursor: 'b' });
  };
  const client = connect({ baseUrl, token: 't' });
  const ids = [];
  for await (const invoice of paginate((cursor) => listInvoices({ client, query: { cursor } }))) ids.push(invoice.id);
  assert.deepEqual(ids, ['in_1', 'in_2', 'in_3']);
});

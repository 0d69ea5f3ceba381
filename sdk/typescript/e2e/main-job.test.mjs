// Against a running server (BASE_URL) that has a stand-in for Supabase Auth and a Stripe emulator.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ApiError, connect, consumeCredits, createApiKey, createCheckoutSession, getCredits, getMe, getSubscription, idempotencyKey,
  listCreditTransactions, logOut, paginate, revokeApiKey, signUp,
} from '../dist/index.js';

const baseUrl = process.env.BASE_URL;
assert.ok(baseUrl, 'BASE_URL names the server');

/** Asks until the answer is as it should be, for at most fifteen seconds. */
async function eventually(ask) {
  for (let i = 0; ; i++) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    assert.ok(i < 75, 'it does not happen');
    await sleep(200);
  }
}

test('from sign-up to spending credits with a key', async () => {
  const anybody = connect({ baseUrl });
  const email = `ts-${randomUUID()}@example.com`;
  const { data: session } = await signUp({ client: anybody, body: { email, password: 'correct horse battery' } });
  const user = connect({ baseUrl, token: () => session.access_token });
  const { data: me } = await getMe({ client: user });
  assert.equal(me.email, email);
  assert.equal(me.tier, 'free');

  const back = `${baseUrl}/healthz`;
  const { data: checkout } = await createCheckoutSession({
    client: user,
    headers: { 'Idempotency-Key': idempotencyKey() },
    body: { tier: 'pro', interval: 'month', currency: 'eur', success_url: back, cancel_url: back },
  });
  const form = new URLSearchParams({ email, card_number: '4242 4242 4242 4242', card_expiry: '12 / 34', card_cvc: '123', name: 'Ana', action: 'pay' });
  const paid = await fetch(checkout.url, { method: 'POST', body: form, redirect: 'manual' });
  assert.equal(paid.status, 303);

  await eventually(async () => {
    const { data } = await getSubscription({ client: user });
    return data.access && data.tier === 'pro' && data.status === 'active' ? data : undefined;
  });
  const before = await eventually(async () => {
    const { data } = await getCredits({ client: user });
    return data.lots.some((lot) => lot.granted > 100) ? data.available : undefined;
  });

  const { data: made } = await createApiKey({ client: user, body: { name: 'e2e', scopes: ['credits:read', 'credits:write'] } });
  const program = connect({ baseUrl, apiKey: made.secret });
  const key = idempotencyKey();
  const spend = () => consumeCredits({ client: program, headers: { 'Idempotency-Key': key }, body: { amount: 3, description: 'e2e' } });
  const [first, second] = await Promise.all([spend(), spend()]);
  assert.equal(first.data.transaction_id, second.data.transaction_id);
  assert.equal(first.data.available, before - 3);
  await assert.rejects(
    consumeCredits({ client: program, body: { amount: 1_000_000_000 } }),
    (error) => error instanceof ApiError && error.code === 'insufficient_credits',
  );
  const entries = [];
  for await (const entry of paginate((cursor) => listCreditTransactions({ client: program, query: { cursor, limit: 1 } }))) entries.push(entry);
  assert.equal(entries.filter((entry) => entry.kind === 'consume').length, 1);
  assert.equal(entries[0].balance_after, before - 3);

  await revokeApiKey({ client: user, path: { key_id: made.id } });
  await assert.rejects(getCredits({ client: program }), (error) => error.code === 'invalid_api_key');
  await logOut({ client: user });
  await assert.rejects(getMe({ client: user }), (error) => error.code === 'session_revoked');
});

/**
 * The client of a saaskit server.
 *
 *     const api = connect({ baseUrl: 'https://api.example.com', token: () => session.access_token });
 *     const { data } = await getCredits({ client: api, throwOnError: true });
 *
 * Operations are functions of their own, so that a bundler keeps only what is used. A refusal is thrown as an {@link ApiError}.
 * Requests that may have got lost are tried again where that is safe.
 */
import { createClient, createConfig, type Client } from './generated/client/index.js';
import type { Problem } from './generated/types.gen.js';

export * from './generated/index.js';
export type { Client };

/** A refusal by the server. `problem` is undefined where the answer was none of ours, such as a proxy's. */
export class ApiError extends Error {
  readonly status: number;
  readonly problem: Problem | undefined;
  readonly response: Response;

  constructor(response: Response, problem: Problem | undefined) {
    super(problem ? `${problem.status} ${problem.code}: ${problem.detail ?? problem.title}` : `HTTP ${response.status}`);
    this.name = 'ApiError';
    this.status = response.status;
    this.problem = problem;
    this.response = response;
  }

  /** Stable code of the refusal, such as `insufficient_credits`. */
  get code(): string | undefined {
    return this.problem?.code;
  }
}

type Credential = string | undefined | (() => string | undefined | Promise<string | undefined>);

export interface ConnectOptions {
  /** Address of the server, such as `https://api.example.com`. */
  baseUrl: string;
  /** Access token of the signed-in user, or a function that gives the current one. */
  token?: Credential;
  /** API key or service key, for programs. Never ship one to a browser. */
  apiKey?: Credential;
  /** Account to act for, where it is not the credential's own. */
  account?: string;
  /** How often a request is tried again; 2 by default. */
  retries?: number;
  /** In place of the global fetch. */
  fetch?: typeof fetch;
}

/** Returns a client to be given to the operations as `client`. */
export function connect(options: ConnectOptions): Client {
  const client = createClient(
    createConfig({
      baseUrl: options.baseUrl.replace(/\/+$/, ''),
      fetch: retrying(options.fetch ?? globalThis.fetch, options.retries ?? 2),
      throwOnError: true,
      auth: (scheme) => current(scheme.type === 'http' ? options.token : options.apiKey),
    }),
  );
  const account = options.account;
  if (account) {
    client.interceptors.request.use((request) => {
      if (!request.headers.has('Saaskit-Account')) request.headers.set('Saaskit-Account', account);
      return request;
    });
  }
  client.interceptors.error.use((error, response) =>
    response instanceof Response && !response.ok ? new ApiError(response, asProblem(error)) : error,
  );
  return client;
}

function current(credential: Credential): string | undefined | Promise<string | undefined> {
  return typeof credential === 'function' ? credential() : credential;
}

function asProblem(error: unknown): Problem | undefined {
  return typeof error === 'object' && error !== null && 'code' in error ? (error as Problem) : undefined;
}

const worthwhile = new Set([408, 429, 502, 503, 504]);
const safe = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** Sends a request again where the server may have lost it and doing it twice does no more than once. */
function retrying(send: typeof fetch, retries: number): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const repeatable = safe.has(request.method) || request.headers.has('Idempotency-Key');
    for (let attempt = 0; ; attempt++) {
      const last = !repeatable || attempt >= retries;
      try {
        const response = await send(last ? request : request.clone());
        if (last || !(worthwhile.has(response.status) || (await stillRunning(response)))) return response;
        await response.body?.cancel();
        await pause(attempt, response.headers.get('Retry-After'), request.signal);
      } catch (error) {
        if (last || request.signal.aborted) throw error;
        await pause(attempt, null, request.signal);
      }
    }
  };
}

/** Tells whether an earlier try, whose answer got lost, is worked on: asking again later brings its answer. */
async function stillRunning(response: Response): Promise<boolean> {
  if (response.status !== 409) return false;
  const problem: unknown = await response.clone().json().catch(() => undefined);
  return asProblem(problem)?.code === 'idempotency_in_progress';
}

/** Waits, and fails at once where the request is aborted meanwhile. */
function pause(attempt: number, retryAfter: string | null, signal: AbortSignal): Promise<void> {
  const asked = retryAfter === null ? NaN : Number(retryAfter);
  const wait = asked >= 0 ? Math.min(asked * 1000, 30_000) : 200 * 2 ** attempt * (0.5 + Math.random() / 2);
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', aborted);
      resolve();
    }, wait);
    signal.addEventListener('abort', aborted, { once: true });
  });
}

/** A random Idempotency-Key, to be used for one request and all its retries. */
export function idempotencyKey(): string {
  return crypto.randomUUID();
}

interface Page<T> {
  data: T[];
  next_cursor?: string;
}

/**
 * Walks a list over its pages.
 *
 *     for await (const invoice of paginate((cursor) => listInvoices({ client, query: { cursor } }))) { … }
 */
export async function* paginate<T>(
  fetchPage: (cursor: string | undefined) => Promise<{ data?: Page<T> | undefined }>,
): AsyncGenerator<T, void, undefined> {
  let cursor: string | undefined;
  do {
    const { data } = await fetchPage(cursor);
    if (!data) return;
    yield* data.data;
    cursor = data.next_cursor;
  } while (cursor);
}

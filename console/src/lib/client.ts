// The one way to the hub: typed, with problems as values that a page can show in place.

export interface ProblemBody { status?: number; title?: string; detail?: string; code_needed?: boolean }

/** Why a request was not answered, as RFC 9457 has it. Status 0 is a hub that could not be reached. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly codeNeeded: boolean;
  /** Seconds after which the hub may be asked again, if it said so. */
  readonly retryAfter: number | null;

  constructor(status: number, body: ProblemBody, retryAfter: number | null = null) {
    super(body.detail ?? body.title ?? String(status));
    this.status = status;
    this.title = body.title ?? '';
    this.detail = body.detail ?? '';
    this.codeNeeded = body.code_needed === true;
    this.retryAfter = retryAfter;
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

/** `?a=1&b=2`, without what is empty. */
export function queryText(query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** One step of a path: what is in it can never become two steps, or none. */
export function step(text: string | number): string {
  const coded = encodeURIComponent(String(text));
  return coded === '.' || coded === '..' ? coded.replaceAll('.', '%2E') : coded;
}

type Fetch = (address: string, init: RequestInit) => Promise<Response>;

export class Client {
  readonly #fetch: Fetch;
  readonly #base: string;
  /** Called when the hub no longer knows who asks. */
  signedOut: () => void = () => {};

  constructor(base = '/api/v1', fetcher: Fetch = (address, init) => fetch(address, init)) {
    this.#base = base;
    this.#fetch = fetcher;
  }

  address(path: string, query: Query = {}): string {
    return `${this.#base}${path}${queryText(query)}`;
  }

  get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.#ask<T>('GET', this.address(path, query), undefined, signal);
  }

  post<T>(path: string, body: unknown = {}): Promise<T> {
    return this.#ask<T>('POST', this.address(path), body);
  }

  put<T>(path: string, body: unknown = {}): Promise<T> {
    return this.#ask<T>('PUT', this.address(path), body);
  }

  patch<T>(path: string, body: unknown = {}): Promise<T> {
    return this.#ask<T>('PATCH', this.address(path), body);
  }

  delete(path: string, body?: unknown): Promise<void> {
    return this.#ask<void>('DELETE', this.address(path), body);
  }

  async #ask<T>(method: string, address: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    const headers: Record<string, string> = { Accept: 'application/json, application/problem+json' };
    const init: RequestInit = { method, headers, credentials: 'same-origin', redirect: 'error', cache: 'no-store' };
    if (signal) init.signal = signal;
    if (method !== 'GET') headers['X-Aviary'] = 'console';
    if (body !== undefined) {
      headers['Content-Type'] = 'application/json';
      init.body = JSON.stringify(body);
    }
    let response: Response;
    try {
      response = await this.#fetch(address, init);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem(0, {});
    }
    if (response.ok) {
      if (response.status === 204) return undefined as T;
      try {
        return (await response.json()) as T;
      } catch {
        throw new Problem(response.status, { title: 'not JSON' });
      }
    }
    const problem = await problemOf(response);
    if (problem.status === 401 && !address.startsWith(`${this.#base}/session`)) this.signedOut();
    throw problem;
  }
}

async function problemOf(response: Response): Promise<Problem> {
  let body: ProblemBody = {};
  try {
    const said: unknown = await response.json();
    if (typeof said === 'object' && said !== null) body = said as ProblemBody;
  } catch {
    // What stands between answered in its own words; the status is all that is known.
  }
  const wait = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  return new Problem(response.status, body, Number.isFinite(wait) ? wait : null);
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, { title: String(error) });
}

export const hub = new Client();

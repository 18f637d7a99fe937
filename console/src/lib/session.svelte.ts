// Who is signed in. Pages are shown only while somebody is; the address stays, so that signing in leads back.

import { asProblem, hub, type Problem } from './client';
import type { Scope, Session } from './types';

class Signed {
  now = $state.raw<Session | null>(null);
  known = $state(false);
  setupNeeded = $state(false);
  problem = $state.raw<Problem | null>(null);

  async look(): Promise<void> {
    this.problem = null;
    try {
      this.now = await hub.get<Session>('/session');
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status === 401) await this.#setup();
      else this.problem = problem;
    }
    this.known = true;
  }

  async #setup(): Promise<void> {
    try {
      this.setupNeeded = (await hub.get<{ needed: boolean }>('/setup')).needed;
    } catch (error) {
      this.problem = asProblem(error);
    }
  }

  async in(name: string, password: string, code?: string): Promise<void> {
    const body = code === undefined ? { name, password } : { name, password, code };
    this.now = await hub.post<Session>('/session', body);
  }

  async out(): Promise<void> {
    await hub.delete('/session');
    this.now = null;
  }

  may(scope: Scope): boolean {
    return this.now?.scopes.includes(scope) ?? false;
  }
}

export const signed = new Signed();
hub.signedOut = () => (signed.now = null);

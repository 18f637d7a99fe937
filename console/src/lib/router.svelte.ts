// Where in the console somebody is: `#/incidents/12?state=open`.

import { queryText, type Query } from './client';

export interface Place { steps: string[]; query: Record<string, string> }

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function parse(hash: string): Place {
  const text = hash.replace(/^#\/?/, '');
  const mark = text.indexOf('?');
  const path = mark < 0 ? text : text.slice(0, mark);
  const query = Object.fromEntries(new URLSearchParams(mark < 0 ? '' : text.slice(mark + 1)));
  return { steps: path.split('/').filter((step) => step !== '').map(decoded), query };
}

export function href(steps: (string | number)[], query: Query = {}): string {
  return `#/${steps.map((step) => encodeURIComponent(String(step))).join('/')}${queryText(query)}`;
}

class Router {
  place = $state.raw<Place>({ steps: [], query: {} });

  start(): void {
    const read = () => (this.place = parse(location.hash));
    addEventListener('hashchange', read);
    read();
  }

  go(steps: (string | number)[], query: Query = {}): void {
    location.hash = href(steps, query);
  }

  /** The same page with another query, without a step in the history. */
  refine(query: Query): void {
    history.replaceState(null, '', href(this.place.steps, query));
    this.place = parse(location.hash);
  }
}

export const router = new Router();

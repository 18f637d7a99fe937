// One clock for everything that says how long ago something was.

class Clock {
  now = $state(Date.now());

  start(): void {
    setInterval(() => (this.now = Date.now()), 10_000);
  }
}

export const clock = new Clock();

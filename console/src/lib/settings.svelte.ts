// What somebody chose for this browser: language, theme, times, shortcuts.

export type Theme = 'auto' | 'light' | 'dark';
export type Language = 'en' | 'zh';
export type Zone = 'local' | 'utc';

const KEY = 'aviary-console';

interface Kept { theme: Theme; language: Language; zone: Zone; shortcuts: boolean }

function read(): Partial<Kept> {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return typeof kept === 'object' && kept !== null ? kept : {};
  } catch {
    return {};
  }
}

function oneOf<T extends string>(value: unknown, accepted: readonly T[], otherwise: T): T {
  return accepted.find((word) => word === value) ?? otherwise;
}

class Settings {
  theme = $state<Theme>('auto');
  language = $state<Language>('en');
  zone = $state<Zone>('local');
  shortcuts = $state(true);
  /** What the system prefers, as long as nobody chose. */
  systemDark = $state(false);
  narrow = $state(false);
  readonly dark = $derived(this.theme === 'dark' || (this.theme === 'auto' && this.systemDark));

  start(): void {
    const kept = read();
    this.theme = oneOf<Theme>(kept.theme, ['auto', 'light', 'dark'], 'auto');
    this.language = oneOf<Language>(kept.language, ['en', 'zh'], navigator.language.startsWith('zh') ? 'zh' : 'en');
    this.zone = oneOf<Zone>(kept.zone, ['local', 'utc'], 'local');
    this.shortcuts = kept.shortcuts !== false;
    this.#follow('(prefers-color-scheme: dark)', (is) => (this.systemDark = is));
    this.#follow('(max-width: 720px)', (is) => (this.narrow = is));
    this.apply();
  }

  #follow(question: string, tell: (is: boolean) => void): void {
    const media = matchMedia(question);
    media.addEventListener('change', () => tell(media.matches));
    tell(media.matches);
  }

  apply(): void {
    const root = document.documentElement;
    if (this.theme === 'auto') delete root.dataset['theme'];
    else root.dataset['theme'] = this.theme;
    root.lang = this.language === 'zh' ? 'zh-CN' : 'en';
    const { theme, language, zone, shortcuts } = this;
    try {
      localStorage.setItem(KEY, JSON.stringify({ theme, language, zone, shortcuts }));
    } catch {
      // A browser that keeps nothing still shows everything.
    }
  }
}

export const settings = new Settings();

// The pages, as the menu and the shortcuts have them.

import type { Key } from '../i18n';
import type { Scope } from './types';

export interface Entry { step: string; label: Key; scope: Scope; letter: string; icon: string }

export const NAV: { label: Key; entries: Entry[] }[] = [
  {
    label: 'nav.watch',
    entries: [
      { step: '', label: 'nav.overview', scope: 'read', letter: 'o', icon: 'M3 3h6v8H3zM11 3h6v5h-6zM11 10h6v7h-6zM3 13h6v4H3z' },
      { step: 'incidents', label: 'nav.incidents', scope: 'read', letter: 'i', icon: 'M10 2.500l8 14H2zM10 8v4M10 14v.5' },
      { step: 'live', label: 'nav.live', scope: 'read', letter: 'l', icon: 'M2 10h4l2-6 4 12 2-6h4' },
      { step: 'events', label: 'nav.events', scope: 'read', letter: 'e', icon: 'M3 5h14M3 10h14M3 15h9' },
      { step: 'sources', label: 'nav.sources', scope: 'read', letter: 's', icon: 'M10 2a8 8 0 100 16 8 8 0 000-16zM10 6a4 4 0 100 8 4 4 0 000-8zM10 10h8' },
      { step: 'credentials', label: 'nav.credentials', scope: 'read', letter: 'c', icon: 'M6.500 7a3.500 3.500 0 100 7 3.500 3.500 0 000-7zM10 10.500h8M15 10.500v3M18 10.500v2' },
    ],
  },
  {
    label: 'nav.respond',
    entries: [
      { step: 'sensors', label: 'nav.sensors', scope: 'read', letter: 'n', icon: 'M10 9a1.500 1.500 0 100 3 1.500 1.500 0 000-3zM6 6a6 6 0 000 9M14 6a6 6 0 010 9M3.500 3.500a9.500 9.500 0 000 14M16.500 3.500a9.500 9.500 0 010 14' },
      { step: 'alerts', label: 'nav.alerts', scope: 'read', letter: 'a', icon: 'M5 14V9a5 5 0 0110 0v5l1.500 2h-13zM8.500 18h3' },
      { step: 'suppressions', label: 'nav.suppressions', scope: 'read', letter: 'u', icon: 'M3 4h14l-5.500 6.500V17l-3-2v-4.500z' },
    ],
  },
  {
    label: 'nav.manage',
    entries: [
      { step: 'people', label: 'nav.people', scope: 'administer', letter: 'p', icon: 'M10 3a3.500 3.500 0 100 7 3.500 3.500 0 000-7zM3.500 17c.5-4 3-5.500 6.500-5.500s6 1.500 6.500 5.500' },
      { step: 'tokens', label: 'nav.tokens', scope: 'administer', letter: 't', icon: 'M3 6h14v8H3zM6 10h3M12 10h2' },
      { step: 'audit', label: 'nav.audit', scope: 'administer', letter: 'd', icon: 'M5 2.500h10v15H5zM8 7h4M8 10h4M8 13h2' },
      { step: 'account', label: 'nav.account', scope: 'read', letter: 'm', icon: 'M10 2a8 8 0 100 16 8 8 0 000-16zM10 6a2.500 2.500 0 100 5 2.500 2.500 0 000-5zM5 15c1-2 3-2.500 5-2.500s4 .5 5 2.500' },
    ],
  },
];

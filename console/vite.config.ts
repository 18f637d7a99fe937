// How the console is built: relative addresses, hashed names, nothing inlined, so that a strict policy can hold.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

const hub = process.env['AVIARY_HUB'] ?? 'http://127.0.0.1:8390';

export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { '/api': { target: hub, secure: false } } },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
});

// Where the console begins.

import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { clock } from './lib/clock.svelte';
import { router } from './lib/router.svelte';
import { settings } from './lib/settings.svelte';
import { signed } from './lib/session.svelte';

settings.start();
clock.start();
router.start();
void signed.look();

const target = document.getElementById('app');
if (target) mount(App, { target });

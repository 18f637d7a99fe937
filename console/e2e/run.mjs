// The console in a browser: main paths in both languages, accessibility, widths, hostile text, a picture of each page.
// `AVIARY_CONSOLE_URL`, `AVIARY_NAME` and `AVIARY_PASSWORD` point it at a hub that runs; else it starts the mock.

import { createRequire } from 'node:module';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { PASSWORD, POLICY, start } from '../mock/server.mjs';

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const SHOTS = process.env.AVIARY_SHOTS ?? join(process.cwd(), 'artifacts');
const HUB = process.env.AVIARY_CONSOLE_URL;
mkdirSync(SHOTS, { recursive: true });

const PAGES = {
  overview: '#/', incidents: '#/incidents', incident: '#/incidents/59', live: '#/live', events: '#/events', sources: '#/sources', source: null, credentials: '#/credentials', sensors: '#/sensors', sensor: '#/sensors/ams-dmz-1', configs: '#/configs/dmz', alerts: '#/alerts/policies', channels: '#/alerts/channels', ledger: '#/alerts/ledger', suppressions: '#/suppressions', people: '#/people', tokens: '#/tokens', audit: '#/audit', account: '#/account',
};

let passed = 0;
let failed = 0;
async function check(name, run) {
  try {
    await run();
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}: ${String(error.message ?? error).split('\n').slice(0, 6).join('\n      ')}`);
  }
}
function expect(truth, said) {
  if (!truth) throw new Error(said);
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

/** A page that notes every script error, refused resource and request to anywhere else. */
async function open(base, { language = 'en', dark = false, width = 1280, height = 860 } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', ignoreHTTPSErrors: true, locale: language === 'zh' ? 'zh-CN' : 'en-GB', timezoneId: 'UTC', permissions: [] });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(`script error: ${error.message}`));
  page.on('console', (message) => {
    // A 401 before signing in is how the console learns that nobody is signed in.
    if (message.type() === 'error' && !message.text().includes('401')) wrong.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    const known = url.origin === new URL(base).origin && (url.pathname.startsWith('/api/v1/') || url.pathname.startsWith('/console/'));
    if (!known && url.protocol !== 'blob:') wrong.push(`unexpected request: ${request.url()}`);
  });
  page.on('dialog', (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  return { page, wrong, close: () => context.close() };
}
async function signIn(page, base, name = 'mei', password = PASSWORD, code = '123456') {
  await page.goto(`${base}/console/`);
  await page.fill('input[name=name]', name);
  await page.fill('input[name=password]', password);
  await page.click('button.main');
  if (code !== '') {
    await page.fill('input[name=code]', code);
    await page.click('button.main');
  }
  await page.waitForSelector('#menu', { state: 'attached' });
}
async function go(page, hash) {
  await page.evaluate((hash) => { location.hash = hash; }, hash);
  await settled(page);
}
/** Waits until nothing says that it loads, and until what is drawn late has been drawn. */
async function settled(page) {
  await page.waitForFunction(() => document.querySelector('h1') !== null && ![...document.querySelectorAll('p.say[role=status]')].some((one) => /Loading|正在|加载/.test(one.textContent ?? '')));
  await page.waitForFunction(() => [...document.querySelectorAll('.canvas')].every((box) => box.querySelector('canvas') !== null));
}
async function accessible(page, where) {
  // Playwright evaluates past the policy, which forbids a script element.
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations.filter((one) => ['serious', 'critical'].includes(one.impact)).map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary ?? ''}`).join(' | ')}`));
  expect(found.length === 0, `${where}: ${found.join('\n      ')}`);
}
async function fits(page, where) {
  const over = await page.evaluate(() => {
    const seen = document.documentElement.clientWidth;
    const main = document.querySelector('main');
    const wide = [document.documentElement, document.body, main].filter(Boolean).some((one) => one.scrollWidth > one.clientWidth + 1);
    return wide ? [...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > seen + 1).slice(0, 4).map((one) => one.outerHTML.slice(0, 120)) : null;
  });
  expect(over === null, `${where} scrolls sideways: ${over?.join(' | ')}`);
}
const quiet = (wrong) => expect(wrong.length === 0, wrong.slice(0, 5).join('\n      '));
const pagesOf = (data) => Object.entries(PAGES).map(([name, hash]) => [name, hash ?? `#/sources/${encodeURIComponent(data.sources[3])}`]);

async function looks(hub) {
  for (const [language, dark, width] of [['en', false, 1280], ['zh', true, 1280], ['en', true, 360], ['zh', false, 360]]) {
    const { page, wrong, close } = await open(hub.address, { language, dark, width, height: width === 360 ? 740 : 860 });
    hub.state.session = null;
    await check(`${language} ${width} px ${dark ? 'dark' : 'light'}: signs in with a second factor`, async () => {
      await page.goto(`${hub.address}/console/`);
      await page.waitForSelector('input[name=name]');
      await page.screenshot({ path: join(SHOTS, `sign-in-${language}-${dark ? 'dark' : 'light'}-${width}.png`) });
      await accessible(page, 'sign-in');
      await signIn(page, hub.address);
    });
    for (const [name, hash] of pagesOf(hub.data)) {
      await check(`${language} ${width} px ${dark ? 'dark' : 'light'}: ${name}`, async () => {
        await go(page, hash);
        if (name === 'live') await page.waitForSelector('[data-row]');
        await page.screenshot({ path: join(SHOTS, `${name}-${language}-${dark ? 'dark' : 'light'}-${width}.png`) });
        await fits(page, name);
        await accessible(page, name);
        if (language === 'zh') expect(/[\u4e00-\u9fff]/.test((await page.textContent('h1, nav.tabs, .grid h2')) ?? '') || ['incident', 'source', 'sensor'].includes(name), 'no Chinese');
        expect((await page.locator('main .problem').count()) === 0, `a problem is shown: ${await page.locator('main .problem').allTextContents()}`);
        quiet(wrong.splice(0));
      });
    }
    await close();
  }
}

async function paths(hub) {
  const { page, wrong, close } = await open(hub.address);
  hub.state.session = null;
  await check('a wrong password is refused and said', async () => {
    await page.goto(`${hub.address}/console/`);
    await page.fill('input[name=name]', 'ada');
    await page.fill('input[name=password]', 'not this');
    await page.click('button.main');
    await page.waitForSelector('p[role=alert]');
    wrong.length = 0;
  });
  await signIn(page, hub.address, 'ada', PASSWORD, '');
  await check('an analyst sees nothing of managing', async () => {
    hub.state.requests.length = 0;
    expect((await page.locator('#menu a[href="#/people"]').count()) === 0, 'People is in the menu');
    await go(page, '#/people');
    expect(!hub.state.requests.includes('GET /api/v1/people'), 'people were asked for');
  });
  await check('keys go to pages, rows and the search', async () => {
    await page.keyboard.press('g');
    await page.keyboard.press('i');
    await page.waitForSelector('[data-row]');
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    const second = await page.evaluate(() => [...document.querySelectorAll('[data-row]')].indexOf(document.activeElement));
    expect(second === 1, `focus is on row ${second}`);
    await page.keyboard.press('Enter');
    await page.waitForSelector('.timeline');
    await page.keyboard.press('/');
    await page.waitForFunction(() => document.activeElement?.matches('[data-search]'));
    await page.keyboard.press('Escape');
  });
  await check('the skip link leads past the menu', async () => {
    await page.reload();
    await page.waitForSelector('#menu');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.activeElement?.id === 'main'), 'focus is not on the content');
  });
  await check('an incident is acknowledged, noted, closed with a reason, reopened', async () => {
    await go(page, '#/incidents/59');
    hub.data.incidents.find((one) => one.number === 59).state = 'open';
    await page.reload();
    await page.waitForSelector('.timeline');
    await page.keyboard.press('Shift+A');
    await page.waitForSelector('main .tag.low:has-text("Acknowledged")');
    await page.fill('section textarea', 'seen by <b>us</b>');
    await page.click('section form button');
    await page.waitForSelector('text=seen by <b>us</b>');
    await page.keyboard.press('Tab');
    await page.locator('main').focus();
    await page.keyboard.press('Shift+C');
    await page.waitForSelector('dialog textarea');
    expect(await page.evaluate(() => !document.querySelector('dialog textarea').checkValidity()), 'an empty reason is accepted');
    await page.fill('dialog textarea', 'a test of ours');
    await page.click('dialog button.main');
    await page.waitForSelector('main .tag.good:has-text("Closed")');
    await page.click('button:has-text("Reopen")');
    await page.waitForSelector('main .tag.open:has-text("Open")');
  });
  await check('one click leads from an event to a rule, which says first what it would hide', async () => {
    await go(page, '#/events');
    await page.locator('[data-row]').first().click();
    await page.click('dialog a.button');
    await page.waitForSelector('dialog input[name=sources]');
    expect((await page.inputValue('dialog input[name=sources]')) !== '', 'no source was taken over');
    await page.click('dialog button:has-text("What would it")');
    await page.waitForSelector('dialog .card >> text=/would have hidden \\d+/');
    await page.fill('dialog input[name=name]', 'a rule of mine');
    await page.fill('dialog input[name=reason]', 'a test');
    await page.click('dialog button.main');
    await page.waitForSelector('article:has-text("a rule of mine")');
    expect(hub.state.suppressions.some((one) => one.name === 'a rule of mine' && one.match.sources.length === 1), 'it was not stored');
    await page.click('article:has-text("a rule of mine") button.danger');
    await page.click('[data-sure]');
    await page.waitForSelector('article:has-text("a rule of mine")', { state: 'detached' });
  });
  await check('a search is in the address, kept under a name, and exported', async () => {
    await go(page, '#/events?service=ssh');
    await page.fill('[data-search]', 'root');
    await page.click('form .search button.main');
    await page.waitForFunction(() => location.hash.includes('text=root') && location.hash.includes('service=ssh'));
    const link = await page.getAttribute('a[download]', 'href');
    expect(link?.includes('text=root') && link.includes('format=csv'), `export leads to ${link}`);
    await page.click('button:has-text("Save filter")');
    await page.fill('dialog input[name=search]', 'my search');
    await page.click('dialog button.main');
    await page.waitForSelector('.tag:has-text("my search")');
    expect(hub.state.searches.some((one) => one.name === 'my search' && one.query.text === 'root'), 'it was not kept');
  });
  await check('of a long list only what is on the screen is in the document', async () => {
    await go(page, '#/events');
    await page.waitForSelector('[data-row]');
    for (let n = 0; n < 12; n += 1) {
      await page.evaluate(() => { const box = document.querySelector('.box'); box.scrollTop = box.scrollHeight; });
      await page.waitForTimeout(120);
    }
    const { rows, tall } = await page.evaluate(() => ({ rows: document.querySelectorAll('[data-row]').length, tall: document.querySelector('.box').scrollHeight }));
    expect(tall > 30_000 && rows < 80 && rows > 4, `${rows} rows in a list of ${tall} px`);
  });
  await check('the live feed grows, pauses and goes on', async () => {
    await go(page, '#/live');
    await page.waitForSelector('[data-row]');
    await page.locator('main').focus();
    await page.keyboard.press('Shift+P');
    const frozen = await page.getAttribute('[role=table]', 'aria-rowcount');
    await page.waitForFunction(() => /[1-9]/.test([...document.querySelectorAll('button.main')].at(-1)?.textContent ?? ''));
    expect((await page.getAttribute('[role=table]', 'aria-rowcount')) === frozen, 'it went on');
    await page.keyboard.press('Shift+P');
    await page.waitForFunction((was) => Number(document.querySelector('[role=table]')?.getAttribute('aria-rowcount')) > Number(was), frozen);
  });
  await check('language and theme are switched and kept', async () => {
    await page.selectOption('#menu select >> nth=0', 'zh');
    await page.waitForSelector('h1:has-text("实时")');
    await page.selectOption('#menu select >> nth=1', 'dark');
    await page.reload();
    await page.waitForFunction(() => document.documentElement.lang === 'zh-CN' && 'dark' in document.documentElement.dataset);
    await page.selectOption('#menu select >> nth=0', 'en');
    await page.selectOption('#menu select >> nth=1', 'auto');
  });
  await check('whoever signs out is asked again', async () => {
    await page.click('#menu .foot button:last-child');
    await page.waitForSelector('input[name=password]');
  });
  quietly(wrong);
  await close();
}
function quietly(wrong) {
  return check('no script error and no unexpected request on these paths', async () => quiet(wrong));
}

async function managing(hub) {
  const { page, wrong, close } = await open(hub.address);
  hub.state.session = null;
  await signIn(page, hub.address);
  await check('a channel is added and tested, a policy uses it', async () => {
    await go(page, '#/alerts/channels');
    await page.click('main button.main');
    await page.fill('dialog input[name=name]', 'new one');
    await page.fill('dialog input[type=password]', 'https://hook.example.test/x');
    await page.click('dialog button.main');
    await page.locator('article:has-text("new one") button', { hasText: 'Test' }).click();
    await page.waitForSelector('article:has-text("new one") >> text=Delivered');
    await go(page, '#/alerts/policies');
    await page.click('main button.main');
    await page.fill('dialog input[name=name]', 'by day');
    await page.check('dialog label.check:has-text("new one") input');
    await page.check('dialog label.check:has-text("Only at certain times") input');
    await page.click('dialog button.main');
    await page.waitForSelector('article:has-text("by day")');
    const made = hub.state.policies.find((one) => one.name === 'by day');
    expect(made?.channels[0] === 'new one' && made.schedule?.days.length === 5, JSON.stringify(made));
  });
  await check('a secret that nobody typed again is kept', async () => {
    await go(page, '#/alerts/channels');
    await page.locator('article:has(h2:has-text("mail")) button', { hasText: 'Edit' }).click();
    await page.fill('dialog label:has-text("to") input >> nth=0', 'other@example.test');
    await page.click('dialog button.main');
    await page.waitForSelector('dialog', { state: 'detached' });
    const mail = hub.state.channels.find((one) => one.name === 'mail');
    expect(mail.options.password === '***' && mail.options.to === 'other@example.test', JSON.stringify(mail));
  });
  await check('somebody is invited by a link, a token is shown once', async () => {
    await go(page, '#/people');
    await page.click('main button.main');
    await page.fill('dialog input[name=person]', 'kim');
    await page.click('dialog button.main');
    await page.waitForSelector('dialog pre:has-text("/console/#/setup/welcome")');
    await page.keyboard.press('Escape');
    await page.waitForSelector('.person:has-text("kim")');
    await go(page, '#/tokens');
    await page.click('main button.main');
    await page.fill('dialog input[name=token]', 'forwarder');
    await page.uncheck('dialog input[value=ingest]');
    await page.check('dialog input[value=read]');
    await page.click('dialog button.main');
    await page.waitForSelector('dialog pre:has-text("avt_")');
    await page.keyboard.press('Escape');
    expect(!(await page.content()).includes('avt_shown-once'), 'the token is still in the page');
  });
  await check('a sensor is drilled, enrolled, its config pushed', async () => {
    await go(page, '#/sensors/fra-core-2');
    await page.click('main button.main');
    await page.waitForSelector('p[role=status]');
    await go(page, '#/sensors');
    await page.click('main .row > button.main >> nth=0');
    await page.click('dialog button.main');
    await page.waitForSelector('dialog pre:has-text("aviary sensor enrol")');
    await page.keyboard.press('Escape');
    await go(page, '#/configs/dmz');
    await page.waitForSelector('pre .plus');
    await page.click('li:has-text("Version 2") button');
    await page.waitForSelector('p[role=status]:has-text("ams-dmz-1")');
  });
  await check('a second factor is turned on', async () => {
    await go(page, '#/account');
    await page.click('button:has-text("Set up a second factor")');
    await page.waitForSelector('code');
    await page.fill('input[autocomplete=one-time-code]', '123456');
    await page.click('button:has-text("Turn on")');
    await page.waitForSelector('button:has-text("Turn off")');
    hub.state.totp = false;
  });
  await quietly(wrong);
  await close();
}

async function firstStart() {
  const hub = await start({ fresh: true });
  const { page, wrong, close } = await open(hub.address);
  await check('the first administrator is set up by the link, and the token leaves the address', async () => {
    await page.goto(`${hub.address}/console/#/setup/welcome`);
    await page.fill('input[name=name]', 'mei');
    await page.fill('input[name=password]', 'short');
    await page.fill('input[name=again]', 'short');
    await page.click('button.main');
    await page.waitForSelector('p[role=alert]');
    await page.fill('input[name=password]', PASSWORD);
    await page.fill('input[name=again]', PASSWORD);
    await page.screenshot({ path: join(SHOTS, 'set-up-en-light-1280.png') });
    await accessible(page, 'set-up');
    await page.click('button.main');
    await page.waitForSelector('#menu');
    expect(!page.url().includes('welcome'), page.url());
    quiet(wrong);
  });
  await close();
  await hub.stop();
}

async function hostile() {
  const hub = await start({ hostile: true });
  for (const language of ['en', 'zh']) {
    hub.state.session = null;
    const { page, wrong, close } = await open(hub.address, { language, width: language === 'zh' ? 360 : 1280 });
    await signIn(page, hub.address);
    const places = [...pagesOf(hub.data), ...hub.data.events.slice(0, 14).map((event, n) => [`event ${n}`, `#/events/${event.id}`]), ...hub.data.incidents.slice(0, 8).map((one) => [`incident ${one.number}`, `#/incidents/${one.number}`])];
    await check(`hostile text is inert on ${places.length} pages (${language})`, async () => {
      for (const [name, hash] of places) {
        await go(page, hash);
        for (const summary of await page.locator('main summary').all()) await summary.click();
        const hit = await page.evaluate(() => ({ hit: globalThis.__hit, images: document.querySelectorAll('main img, main script, main svg, main iframe').length, raw: /[\u202a-\u202e\u200b\u001b\u0000]/.test(document.querySelector('main')?.textContent ?? ''), long: (document.querySelector('main')?.textContent ?? '').length, title: document.title }));
        expect(hit.hit === undefined && hit.images === 0, `${name}: it ran or became an element`);
        expect(!hit.raw, `${name}: an unseen character reached the page`);
        expect(hit.long < 600_000, `${name}: ${hit.long} characters in the page`);
        await fits(page, name);
      }
      quiet(wrong);
    });
    await check(`a megabyte is cut, and more of it is shown (${language})`, async () => {
      const long = hub.data.events.find((event) => String(event.event.logdata.USERNAME ?? event.event.logdata.msg ?? event.event.logdata.CMD ?? '').length > 1_000_000);
      await go(page, `#/events/${long.id}`);
      const before = (await page.textContent('main')).length;
      await page.locator('main dd button.quiet').first().click();
      await page.waitForFunction((was) => document.querySelector('main').textContent.length > was + 10_000, before);
      quiet(wrong);
    });
    await close();
  }
  await hub.stop();
}

/** Against a hub that runs: every page that its role may see comes without a problem. */
async function real(base) {
  const { page, wrong, close } = await open(base);
  await check('signs in', () => signIn(page, base, process.env.AVIARY_NAME, process.env.AVIARY_PASSWORD, process.env.AVIARY_CODE ?? ''));
  for (const hash of await page.locator('#menu a[aria-current], #menu .entries a').evaluateAll((links) => [...new Set(links.map((link) => link.getAttribute('href')))])) {
    await check(`page ${hash}`, async () => {
      await go(page, hash);
      await page.screenshot({ path: join(SHOTS, `hub-${hash.replace(/\W+/g, '') || 'overview'}.png`) });
      expect((await page.locator('main .problem').count()) === 0, `a problem: ${await page.locator('main .problem').allTextContents()}`);
      await accessible(page, hash);
      quiet(wrong.splice(0));
    });
  }
  await close();
}

if (HUB) {
  await real(HUB.replace(/\/$/, ''));
} else {
  await check('the mock has the policy of the hub', async () => {
    const source = readFileSync(join(import.meta.dirname, '../../crates/api/src/console.rs'), 'utf8');
    const said = /const POLICY: &str = "([^;]*(?:;[^"]*)?)";/.exec(source)?.[1]?.replace(/\\\n\s*/g, '');
    expect(said === POLICY, `${said}`);
  });
  const own = async (run) => {
    const hub = await start();
    await run(hub);
    await hub.stop();
  };
  const rest = async () => {
    await own(paths);
    await own(managing);
    await firstStart();
    await hostile();
  };
  await Promise.all([own(looks), rest()]);
}
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

// What Lighthouse thinks of the console's accessibility, in each view:
//
//   npm ci --prefix tools/web
//   node tools/web/lighthouse.mjs http://127.0.0.1:1109 dev
//
// The first argument is a server, with something in it if the pages are not to be empty; the second a token. It starts a
// headless Chromium of its own (CHROME_PATH, or /usr/bin/chromium), signs in as a user does, has Lighthouse look at each
// view as it stands, and fails if one has less than 0.95.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { snapshot } from 'lighthouse';
import puppeteer from 'puppeteer-core';

const leastScore = 0.95;
const views = ['', 'topics', 'groups', 'tail', 'produce', 'kv', 'latency'];

const [server = 'http://127.0.0.1:1109', token = 'dev'] = process.argv.slice(2);
const profile = await mkdtemp(join(tmpdir(), 'ayder-lighthouse-'));
const browser = await puppeteer.launch({
  executablePath: process.env.CHROME_PATH ?? '/usr/bin/chromium',
  userDataDir: profile,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
let worst = 1;
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 412, height: 823, isMobile: true, hasTouch: true, deviceScaleFactor: 1 });
  await page.goto(`${server}/console`);
  await page.waitForSelector('#sign-in input[type=password]');
  await judge(page, 'sign in');
  await page.type('#sign-in input[type=password]', token);
  await page.keyboard.press('Enter');
  for (const view of views) {
    await page.goto(`${server}/console#/${view}`);
    await page.waitForSelector(`main[data-view="${view || 'overview'}"] h1`);
    await new Promise((resolve) => setTimeout(resolve, 1000)); // its figures come
    await judge(page, view || 'overview');
  }
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
process.exitCode = worst < leastScore ? 1 : 0;

async function judge(page, name) {
  const { lhr } = await snapshot(page, { config: { extends: 'lighthouse:default', settings: { onlyCategories: ['accessibility'] } } });
  const { score } = lhr.categories.accessibility;
  worst = Math.min(worst, score ?? 0);
  console.log(score?.toFixed(2), name);
  for (const { id, title, score } of Object.values(lhr.audits)) if (score === 0) console.log('    ', id, title);
}

// Tokens as a backend signs them.

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';

const secret = readFileSync(new URL('../secret.txt', import.meta.url), 'utf8').trim();
const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function token(claims) {
  const message = `${encoded({ alg: 'HS256', typ: 'JWT' })}.${encoded(claims)}`;
  return `${message}.${createHmac('sha256', secret).update(message).digest('base64url')}`;
}

/** So many seconds from now, as claims have it. */
export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

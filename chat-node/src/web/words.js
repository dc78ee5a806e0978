// What errors and closed connections mean, in words for the person at the page.

const ERRORS = {
  100: "the server has an internal problem",
  101: "this server lets nobody in without a login, and this page cannot log you in; use the application that you have a login for",
  102: "the server does not know this room",
  103: "you are not allowed to do this here",
  104: "the server does not support this",
  105: "this connection is in the room already",
  106: "a limit of the server is reached",
  107: "the server does not accept this",
  108: "this is not available in this room",
  109: "the login has expired",
  110: "the login has expired",
  111: "too many messages in a short time; wait a moment",
  112: "the server cannot tell what was missed",
  113: "the login was revoked",
};

const CLOSED = {
  3500: "the login is not valid",
  3501: "the server did not understand this page",
  3502: "the connection was idle for too long",
  3503: "the server ended it on purpose",
  3504: "there are too many connections",
  3505: "there are too many rooms on one connection",
};

/** `{ code, message }` of an error reply as half a sentence, e.g. for "Not sent: …". */
export function errorWords({ code, message }) {
  return join(ERRORS[code], message, code, GENERIC.has(message));
}

/** Why the server closed for good, or let nobody in, as half a sentence. */
export function closeWords(code, reason) {
  // What follows there is for who wrote the page.
  if (code === 101) return join(ERRORS[code], "", code, true);
  return ERRORS[code] ? errorWords({ code, message: reason }) : join(CLOSED[code], reason, code, false);
}

/** The protocol's own names of its codes say no more than our words for them. */
const GENERIC = new Set([
  "internal server error", "unauthorized", "unknown channel", "permission denied", "method not found",
  "already subscribed", "limit exceeded", "bad request", "not available", "token expired", "expired",
  "too many requests", "unrecoverable position", "token revoked",
]);

function join(words, detail, code, generic) {
  const shown = detail && !generic ? detail : "";
  if (words && shown) return `${words} (${code}: ${shown})`;
  if (words) return `${words} (${code})`;
  return shown ? `${shown} (${code})` : `error ${code}`;
}

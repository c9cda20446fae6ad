/**
 * Why there is no reply.
 *
 * kind: "busy" (others are answered; ask again after `retry_after` seconds), "gone" (out of reach), "locked" (a key is
 * wanted, or another one) or "refused" (the message says why).
 * code: of what is refused, "too_long" (no message can be left out any more), "no_model" (ask for the models again), or null.
 */
export class BackendError extends Error {
  constructor(kind, message, { retry_after = null, code = null } = {}) {
    super(message);
    Object.assign(this, { kind, retry_after, code });
  }
}

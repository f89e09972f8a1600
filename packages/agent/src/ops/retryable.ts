/**
 * Failures after which the same op may well succeed: the network, a busy or full disk, a locked database. Everything
 * else needs a person or another plan, and trying again would only lose time.
 */
const RETRYABLE: ReadonlySet<string> = new Set([
  "artifact-unavailable",
  "backend-unreachable",
  "backup-busy",
  "backup-no-room",
  "command-timeout",
  "copy-cut",
  "copy-damaged",
  "copy-unavailable",
  "deadline-exceeded",
  "disk-full",
  "download-cut",
  "download-damaged",
  "download-stalled",
  "hook-not-yet",
  "http-timeout",
  "http-unreachable",
  "os-eagain",
  "os-ebusy",
  "os-edquot",
  "os-eintr",
  "os-emfile",
  "os-enfile",
  "os-enospc",
  "snapshot-not-opened",
  "step-queue-full",
]);

export function isRetryable(code: string): boolean {
  return RETRYABLE.has(code);
}

import type { Field } from "./document.js";
import type { BackupPolicy } from "./fleet.js";
import { readDuration } from "./policy.js";

const HOUR_MS = 3_600_000;
const MAX_AGE_MS = 3650 * 24 * HOUR_MS;
/** What age can encrypt to: a key of its own, or an SSH key. */
const RECIPIENT = /^(age1[0-9a-z]{10,200}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]{16,2000})$/;
const MAX_RECIPIENTS = 16;

/** `backups:` with its defaults. Nothing leaves a host unless somebody asks for it: a backup holds the cluster's keys. */
export function readBackups(field: Field): BackupPolicy {
  const members = field.members(["keep", "maxAge", "copy", "recipients"]);
  const copy = members.copy.choice(["none", "belayd"]) ?? "none";
  const recipients = members.recipients.items().map(readRecipient);
  if (recipients.length > MAX_RECIPIENTS) members.recipients.note(`more than ${MAX_RECIPIENTS} recipients`);
  if (recipients.length > 0 && copy === "none") {
    members.recipients.note("there are recipients, but no copy for them", {
      hint: "Say `copy: belayd`, or leave them out.",
    });
  }
  return {
    keep: members.keep.count(1, 10_000) ?? 3,
    maxAgeMs: readDuration(members.maxAge, HOUR_MS, MAX_AGE_MS) ?? null,
    copy,
    recipients,
  };
}

function readRecipient(field: Field): string {
  const text = field.required() ?? "";
  if (text !== "" && !RECIPIENT.test(text)) {
    field.note("is no public key that age can encrypt to", { hint: "It begins with age1, ssh-ed25519 or ssh-rsa." });
  }
  return text;
}

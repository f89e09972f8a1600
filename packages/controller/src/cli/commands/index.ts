import type { CommandSpec, GroupSpec } from "../command.js";
import { agentList } from "./agent-list.js";
import { agentRevoke } from "./agent-revoke.js";
import { agentUpgrade } from "./agent-upgrade.js";
import { apiTokenCreate, apiTokenList, apiTokenRevoke } from "./api-token.js";
import { auditExport } from "./audit-export.js";
import { auditList } from "./audit-list.js";
import { auditShow } from "./audit-show.js";
import { auditVerify } from "./audit-verify.js";
import { backupList } from "./backup-list.js";
import { backupRestore } from "./backup-restore.js";
import { backupShow } from "./backup-show.js";
import { backupVerify } from "./backup-verify.js";
import { caActivate, caRetire, caRotate, caShow } from "./ca.js";
import { fleetCheck } from "./fleet-check.js";
import { fleetShow } from "./fleet-show.js";
import { gateApprove, gateReject } from "./gate-decide.js";
import { gateList } from "./gate-list.js";
import { gateShow } from "./gate-show.js";
import { hostList } from "./host-list.js";
import { hostQuarantine, hostRelease } from "./host-quarantine.js";
import { hostShow } from "./host-show.js";
import { log } from "./log.js";
import { login, logout } from "./login.js";
import { plan } from "./plan.js";
import { planLint } from "./plan-lint.js";
import { planList } from "./plan-list.js";
import { planShow } from "./plan-show.js";
import { releaseAdd } from "./release-add.js";
import { releaseBlock, releaseClear, releaseUnblock } from "./release-judge.js";
import { releaseList } from "./release-list.js";
import { releaseShow } from "./release-show.js";
import { runRetry, runSkip } from "./run-answer.js";
import { runList } from "./run-list.js";
import { runRollback } from "./run-rollback.js";
import { runShow } from "./run-show.js";
import { runStart } from "./run-start.js";
import { runAbort, runPause, runResume } from "./run-steer.js";
import { runWatch } from "./run-watch.js";
import { status } from "./status.js";
import { tokenCreate } from "./token-create.js";
import { tokenList } from "./token-list.js";
import { tokenRevoke } from "./token-revoke.js";
import { userCreate, userRemove, userSet } from "./user-change.js";
import { userList, userShow, whoami } from "./user-show.js";
import { why } from "./why.js";

/** Every command there is, in the order in which help and the reference list them. */
export const GROUPS: readonly GroupSpec[] = [
  { name: "plan", summary: "plan an upgrade; look at plans", own: plan, commands: [planShow, planList, planLint] },
  {
    name: "run",
    summary: "carry plans out, follow and steer runs, go back",
    commands: [runStart, runWatch, runShow, runList, runPause, runResume, runRetry, runSkip, runRollback, runAbort],
  },
  { name: "gate", summary: "look at gates and answer them", commands: [gateShow, gateApprove, gateReject, gateList] },
  {
    name: "host",
    summary: "look at hosts, set them aside",
    commands: [hostList, hostShow, hostQuarantine, hostRelease],
  },
  {
    name: "backup",
    summary: "look at backups, read them back, put them back",
    commands: [backupList, backupShow, backupVerify, backupRestore],
  },
  {
    name: "release",
    summary: "the releases that plans may use",
    commands: [releaseAdd, releaseList, releaseShow, releaseBlock, releaseUnblock, releaseClear],
  },
  {
    name: "audit",
    summary: "who did what, when and from where; whether that record is whole",
    commands: [auditList, auditShow, auditExport, auditVerify],
  },
  { name: "fleet", summary: "the fleet as declared", commands: [fleetShow, fleetCheck] },
  {
    name: "agent",
    summary: "who agents are, how they join; their own upgrade",
    commands: [agentList, agentRevoke, agentUpgrade],
    groups: [{ name: "token", summary: "tokens for joining", commands: [tokenCreate, tokenList, tokenRevoke] }],
  },
  {
    name: "ca",
    summary: "the authority that agents believe, and its rotation",
    commands: [caShow, caRotate, caActivate, caRetire],
  },
  {
    name: "user",
    summary: "who may sign in, and as what",
    commands: [userList, userShow, userCreate, userSet, userRemove],
  },
  { name: "token", summary: "API tokens of people", commands: [apiTokenCreate, apiTokenList, apiTokenRevoke] },
];

export const SINGLES: readonly CommandSpec[] = [why, log, status, login, logout, whoami];

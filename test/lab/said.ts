/** Rows of `belay host list`, when every host runs this. */
const allRun = (version: string) =>
  new RegExp(
    ["auth-1 +main +auth", "node-1 +main +node"]
      .map((row) => `${row} +connected +${version} +${version} +healthy`)
      .join("[\\s\\S]*"),
  );

/** A recap in which nothing failed. */
const recap = (version: string) => new RegExp(`RECAP of run [\\s\\S]*node-1.*failed=0 .*runs ${version}`);
const AT_GATE = /gate hop-1\.main\.(auth|node) +of run/;

/**
 * What each command of the operations guide must say: one for each time that it is typed, in the guide's order. The first that is
 * missing, and the first that is left over, fail the test.
 */
export const SAID = new Map<string, RegExp[]>([
  ["belay fleet check", [/fleet\.yaml is fine/]],
  ["belayd check-config", [/"names": \[\s+"belayd"\s+\]/]],
  ["belay login", [/you are +root/, /no identity provider is configured/]],
  ["belay whoami", [/you are +root, by root token/]],
  ["belay status", [/hosts +0 of 2 connected/, /hosts +2 of 2 connected[\s\S]*none goes on/]],

  ["belay user create", [/olga\s+roles +operator/, /ann\s+roles +approver\s+groups +sre/, /tom\s+roles +viewer/]],
  ["belay user list", [/ann +approver +sre[\s\S]*olga +operator +none/]],
  ["belay user set", [/tom\s+roles +operator/]],
  ["belay user remove", [/tom is removed/]],
  [
    "belay token create",
    [/of olga written to olga\.token/, /of ann written to ann\.token/, /of olga written to ci\.token/],
  ],
  ["belay token list", [/olga +ci +viewer/]],
  ["belay token revoke", [/token [0-9a-f]{12} revoked/]],

  [
    "belay agent token create",
    [/auth-1 written to auth-1\.token/, /node-1 written to node-1\.token/, /node-1 written to again\.token/],
  ],
  ["belay agent token list", [/node-1 +used[\s\S]*auth-1 +used/]],
  [
    "belay agent list",
    [
      /auth-1 +connected[\s\S]*node-1 +connected/,
      /auth-1 +connected[\s\S]*node-1 +connected.*2\. time/,
      /node-1 +offline.*revoked.*decommissioned/,
    ],
  ],
  ["belay agent revoke", [/identity of node-1 revoked/, /identity of node-1 revoked/]],
  ["belay-agent check-config", [/host +auth-1/, /host +node-1/, /host +node-1[\s\S]*believes +belayd/]],
  ["belay-agent unmanage", [/\/usr\/local\/bin\/teleport.*: plain files of 5\.4\.2/]],
  ["belay host list", [allRun("5.4.2"), allRun("6.2.31"), allRun("5.4.2"), allRun("5.4.2"), allRun("5.4.2")]],

  ["belay release add", [/release 6\.2\.31 stored/, /release belay-agent@0\.2\.0 stored/]],
  ["belay plan", [/hop 1 +5\.4\.2 -> 6\.2\.31 +main: backup \| auth \(1\) \| node \(1\)/]],
  ["belay run start", [/would point .* at 6\.2\.31, reload teleport/, /the service is stopped/, AT_GATE]],
  ["belay why", [/waits for +hop-1\.main\.preflight stopped[\s\S]*unblock +belay run retry/]],
  ["belay log", [/ERROR node-1: failed, .*the service is stopped.* \(unhealthy\)/]],
  ["belay run retry", [/run \S+ is running/]],
  ["belay run watch", [AT_GATE, recap("6.2.31"), AT_GATE, recap("5.4.2"), recap("5.4.2"), recap("0.2.0")]],
  ["belay run abort", [/run \S+ is aborted/]],
  ["belay gate list", [/hop-1\.main\.auth +auth +open/, /hop-1\.main\.node +node +open/]],
  ["belay gate show", [/POINT OF NO RETURN/]],
  [
    "belay gate approve",
    [
      /hop-1\.main\.auth of run \S+: approved by ann/,
      /hop-1\.main\.node of run \S+: approved by ann/,
      /hop-1\.main\.auth of run \S+: approved by ann/,
      /hop-1\.main\.node of run \S+: GLASS BROKEN by root/,
      /hop-1\.main\.node of run \S+: approved by ann/,
    ],
  ],
  ["belay run rollback", [/NOT kept aside/, /to 5\.4\.2/]],
  ["belay agent upgrade", [/to 0\.2\.0/]],
  [
    "readlink",
    [/\/opt\/belay\/teleport\/versions\/6\.2\.31\/teleport/, /agent\/versions\/0\.2\.0/, /agent\/versions\/0\.2\.0/],
  ],
  ["teleport version", [/Teleport v6\.2\.31/]],

  ["belay backup list", [/node-1 +\S+ +5\.4\.2/, /node-1 +\S+ +5\.4\.2/]],
  ["belay backup verify", [/node-1 +\S+ +5\.4\.2/]],
  ["belay backup restore", [/restore \S+ started/]],

  ["belay ca show", [/active +[0-9a-f]{64}[\s\S]*issued to +2 hosts/]],
  ["belay ca rotate", [/next +[0-9a-f]{64}/, /next +[0-9a-f]{64}/]],
  ["belay ca activate", [/trusted +[0-9a-f]{64}/, /trusted +[0-9a-f]{64}/]],
  ["belay ca retire", [/active +[0-9a-f]{64}/]],

  ["journalctl -u belay-agent", [/"msg":"connected"/]],
  ["journalctl -u teleport", [/leaving: SIGTERM[\s\S]*Stopped teleport\.service/]],
  ["journalctl -u belayd", [/"host":"node-1".*"msg":"agent connected"/]],
]);

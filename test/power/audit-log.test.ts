import t from "tap";
import { runCampaign, whyNoPowerCuts } from "./rig/campaign.js";
import { FILE_SYSTEMS } from "./rig/disk.js";

/**
 * belayd's audit log is appended to, and put under checkpoints, on real file systems whose power is cut before, during or after one
 * of its calls, or at any time. After each cut the stand-alone verifier finds nothing, each entry that was acknowledged is in its
 * place, and the newest checkpoint that anybody was shown is continued.
 *
 * `npm run power -- --of audit-log --cuts 100000` runs more of the same.
 */
const CUTS = 400;
const SEED = 1;
const patient = { timeout: 900_000, skip: whyNoPowerCuts() ?? false };

t.test(`${CUTS} power cuts take nothing from the audit log that it had promised (I14)`, patient, async (t) => {
  const { cuts, complaints } = await runCampaign({
    ...{ of: "audit-log", cuts: CUTS, seed: SEED, fileSystems: FILE_SYSTEMS },
  });
  t.same(complaints, []);
  t.same(cuts, { ext4: CUTS / 2, xfs: CUTS / 2 });
});

// That folders are fsynced can't be seen here: whatever is fsynced next brings the names before it along, on these file systems.
t.test("an fsync that is left out is noticed", patient, async (t) => {
  for (const forget of ["file-sync", "data-sync"] as const) {
    for (const fs of FILE_SYSTEMS) {
      const only = { fileSystems: [fs], forget, stopAfter: 1 };
      const { complaints } = await runCampaign({ of: "audit-log", cuts: 100, seed: SEED, ...only });
      const lost = complaints.filter(({ complaint = "" }) => !complaint.startsWith("nothing goes on"));
      t.not(lost.length, 0, `${forget} left out on ${fs}: ${lost[0]?.complaint}`);
    }
  }
});

/** Which backups are gone from their hosts. An older belayd would plan a way back by them. */
export const pruned = `
ALTER TABLE backups ADD COLUMN pruned_at INTEGER;
`;

/** The tenant of what belongs to the owner of the gateway; connections of end customers get names of theirs. */
export const OWNER = '';

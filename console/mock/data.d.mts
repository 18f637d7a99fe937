// What tests take of the mock's data.

export const HOSTILE: string[];

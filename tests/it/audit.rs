use crate::support::Suite;
pub fn register(_suite: &mut Suite) {}

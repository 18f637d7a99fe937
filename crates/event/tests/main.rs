//! What other programs may rely on: the line, its way back, and the two further forms.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod round_trip;

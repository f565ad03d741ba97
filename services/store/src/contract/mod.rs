//! What every backend must do: one function a behaviour.

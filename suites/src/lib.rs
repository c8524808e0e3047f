//! What must hold of a CSI driver.

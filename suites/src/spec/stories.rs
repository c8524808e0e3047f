//! What befalls pods and their volumes: the same handle twice, the pod that came back.

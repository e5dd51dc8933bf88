"""The activities of this folder. Its modules import activities only from here."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.image.prune import ImagePruneActivities
    from activities.image.publication import PublicationActivities
    from activities.image.regions import ImageRegionActivities

__all__ = ["ImagePruneActivities", "ImageRegionActivities", "PublicationActivities"]

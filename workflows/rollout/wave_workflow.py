"""The workflow of a large wave: the history of its rollout does not grow with the routes."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.rollout.rollout import Controls
from relight.domain.rollout.wave import RolloutWaveInput, WaveEnded, WaveNeedsPerson
from workflows.rollout import inputs
from workflows.rollout.pages import WavePage
from workflows.rollout.wave import Wave

WAVE_NEEDS_PERSON = "wave_needs_person"
"""The signal with which a wave asks its rollout to pause for a person."""


# It moves to the current worker version like its rollout, so that new operations start there.
@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RolloutWave:
    """Run one operation (swap, replace, prove or roll back) on each route of a wave.

    A cancellation or termination ends it; operations that are running on routes finish.
    """

    @workflow.init
    def __init__(self, input: RolloutWaveInput) -> None:
        self._rollout = input.rollout
        self._wave = Wave(input, self)

    @workflow.run
    async def run(self, input: RolloutWaveInput) -> WaveEnded:
        """Run the wave until none of its routes is left, or its rollout continues as new."""
        ended = await self._wave.run()
        controls = self._wave.controls
        if ended.handed_over is not None and not controls.hands_over:
            continued = {"controls": controls, "kept": ended.handed_over}
            workflow.continue_as_new(input.model_copy(update=continued))
        return ended

    @workflow.signal(description=f"New controls of the rollout. {inputs.CONTROLS}")
    def set_controls(self, controls: Controls) -> None:
        """Apply new controls of the rollout."""
        self._wave.set_controls(controls)

    def show_wave(self, page: WavePage) -> None:
        """Show how far the wave is."""
        workflow.set_current_details(page.text)

    async def ask_person(self, reason: str) -> None:
        """Make the rollout pause for a person."""
        rollout = workflow.get_external_workflow_handle(self._rollout)
        await rollout.signal(WAVE_NEEDS_PERSON, WaveNeedsPerson(reason=reason))

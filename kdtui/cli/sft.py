"""`kdtui sft`: the commands that fine-tune a student."""

from kdtui.cli import sft_control, sft_default, sft_launch, sft_status
from kdtui.cli.commands import App

app = App(
    "Fine-tune a student with LoRA and manage trainings.",
    examples=["kdtui sft launch --name camping --dataset demo-outdoor", "kdtui sft ls"],
    no_args_is_help=True,
)

# The help lists them in this order.
app.command(
    "data",
    examples=[
        "kdtui sft data --dataset demo-outdoor --knowledge pattern",
        "kdtui sft data --dataset demo-outdoor --output rows.jsonl",
    ],
)(sft_launch.data)
app.command(
    "launch",
    examples=[
        "kdtui sft launch --name camping --dataset demo-outdoor --epochs 1",
        "kdtui sft launch --name camping --dataset demo-outdoor --host gpu --follow",
        "kdtui sft launch --name camping --dataset demo-outdoor --from shipped --follow",
    ],
)(sft_launch.launch)
app.command("ls", examples=["kdtui sft ls", "kdtui sft ls --cached"])(sft_status.ls)
app.command("show", examples=["kdtui sft show camping"])(sft_status.show)
app.command("logs", examples=["kdtui sft logs camping --follow"])(sft_status.logs)
app.command("cancel", examples=["kdtui sft cancel camping", "kdtui sft cancel camping --now"])(sft_control.cancel)
app.command("resume", examples=["kdtui sft resume camping", "kdtui sft resume camping --host other"])(
    sft_control.resume
)
app.command("fetch", examples=["kdtui sft fetch camping"])(sft_control.fetch)
app.command("adopt", examples=["kdtui sft adopt gpu", "kdtui sft adopt gpu:camping"])(sft_control.adopt)
app.command(
    "default",
    examples=["kdtui sft default", "kdtui sft default camping", "kdtui sft default --none --dataset demo-outdoor"],
)(sft_default.default)
app.command("rm", examples=["kdtui sft rm camping", "kdtui sft rm camping other --keep --yes"])(sft_control.rm)

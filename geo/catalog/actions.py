"""What leaves a row in the trail."""

from geo.resource import choices

ACTIONS = choices(
    # People coming and going.
    sign_in="登录", sign_out="退出", refused="被拒绝",
    # Looking at what is somebody's.
    read="查看", unmask="查看明文", export="导出",
    # Writing: the operations of `changes`, under the same names.
    add="新增", change="修改", retire="注销", restore="恢复", destroy="销毁", batch="整批导入", undo="整批撤回",
    # Running the place.
    account="账号", appoint="任职", approve="审批", request="权利请求", settings="设置", key="密钥",
    # The trail about itself: rows that were old enough went, a backup was gone back to, the clock was put back.
    prune="清理留痕", resume="恢复后续接", clock="时钟拨回",
)  # fmt: skip

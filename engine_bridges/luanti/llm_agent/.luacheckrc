std = "luajit"
unused_args = false
max_line_length = 120

globals = {
	"llm_agent",
}

read_globals = {
	"ItemStack",
	"VoxelArea",
	"core",
	"dump",
	"minetest",
	"vector",
	table = {fields = {"copy"}},
	string = {fields = {"split", "trim"}},
}

exclude_files = {"util"}

defmodule ErlangPython.TestRepeatTest do
  use ExUnit.Case, async: true

  @script Path.expand("../scripts/test_repeat.sh", __DIR__)

  @tag :tmp_dir
  test "each run is told with its failures, whose output stays", %{tmp_dir: dir} do
    folder = Path.join(dir, "runs")
    failing = Path.join(dir, "failing.sh")

    File.write!(failing, """
    echo "  1) test it (FooTest)"
    echo "  1) test it (FooTest)"
    echo "FAILED test_foo.py::test_it"
    exit 2
    """)

    run = &System.cmd(@script, ["2", folder | &1], stderr_to_stdout: true)

    assert {output, 1} = run.(["sh #{failing}", "true"])
    assert File.read!(Path.join(folder, "runs.txt")) == output

    assert String.replace(output, ~r/\d+ s/, "0 s") ==
             Enum.map_join(1..2, fn n ->
               """
               run #{n} of 2: failed in 0 s: sh #{failing}
                   FAILED test_foo.py::test_it
                   test it (FooTest)
               run #{n} of 2: passed in 0 s: true
               """
             end)

    assert Enum.sort(File.ls!(folder)) == ["1-1.log", "2-1.log", "runs.txt"]

    # Nothing of the runs before is left.
    assert {_output, 0} = run.(["true"])
    assert File.ls!(folder) == ["runs.txt"]
  end
end

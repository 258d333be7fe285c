defmodule ErlangPython.Worker.OutputTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Worker.Output

  test "gives whole lines and keeps the rest for later" do
    assert {["a"], output} = Output.add(Output.new(), "a\nb")
    assert {["bc", ""], output} = Output.add(output, "c\r\n\n")
    assert Output.last(output) == ["a", "bc", ""]
  end

  test "an unfinished line is among the last ones" do
    assert {[], output} = Output.add(Output.new(), "Fatal Python error")
    assert Output.last(output) == ["Fatal Python error"]
  end

  test "gives an unfinished line at the end" do
    assert {[], %{partial: ""}} = Output.finish(Output.new())
    {[], output} = Output.add(Output.new(), "half")
    assert {["half"], %{partial: ""}} = Output.finish(output)
    {[], output} = Output.add(output, "\n", true)
    assert {[], output} = Output.add(output, String.duplicate("x", 9_000), true)
    assert {["[813 bytes left out" <> _rest, x], _output} = Output.finish(output)
    assert byte_size(x) == 8_192
  end

  test "C functions do not push out where Python was" do
    python = [
      "Current thread 0x00007f (most recent call first):",
      "  File \"x.py\", line 2 in f",
      ""
    ]

    c = List.duplicate("  Binary file \"python3\", at _start+0x21 [0x6d6ce1]", 30)
    lines = python ++ ["Current thread's C stack trace (most recent call first):" | c]
    {^lines, output} = Output.add(Output.new(), Enum.map_join(lines, &(&1 <> "\n")))
    assert Output.last(output) == python
  end

  test "keeps the last 25 lines" do
    {_lines, output} = Output.add(Output.new(), Enum.map_join(1..100, "\n", &"#{&1}") <> "\n")
    assert Output.last(output) == Enum.map(76..100, &"#{&1}")
  end

  test "cuts a line without an end" do
    {lines, output} = Output.add(Output.new(), String.duplicate("x", 20_000))
    assert Enum.map(lines, &byte_size/1) == [8_192, 8_192]
    assert byte_size(output.partial) == 20_000 - 2 * 8_192
  end

  test "who is behind gets no lines, and later one that says how much was left out" do
    assert {["a"], output} = Output.add(Output.new(), "a\nb")
    assert {[], output} = Output.add(output, "c\nd", true)
    assert {[], output} = Output.add(output, String.duplicate("x_x_x_x_x\n", 10_000), true)
    assert byte_size(output.partial) <= 8_192
    assert Output.last(output) == List.duplicate("x_x_x_x_x", 25)
    assert {[note | lines], output} = Output.add(output, "y\n")
    assert note == "[91812 bytes left out: more than could be logged]"
    assert List.last(lines) == "y"
    assert {["z"], _output} = Output.add(output, "z\n")
  end

  test "a packet of many small lines is cut short" do
    {lines, output} = Output.add(Output.new(), String.duplicate("\n", 65_536))
    assert length(lines) == 2_000
    assert {["[55344 bytes left out" <> _rest | lines], _output} = Output.add(output, "a\n")
    assert length(lines) == 2_000
  end

  test "any bytes become text" do
    {[line], _output} = Output.add(Output.new(), <<"ab", 0xFF, 0xFE, "c\n">>)
    assert String.valid?(line)
    assert line =~ ~r/^ab.+c$/u
  end
end

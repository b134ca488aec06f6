// mul8s_p16r: approximate 8 x 8 bit signed multiplier, p = a w
// MAE = 623.359, WCE = 3420
// power 0.06835 mW, area 117.6 um2, delay 0.5452 ns (gate model: 56 gates)
module mul8s_p16r (
  input  wire [7:0] a,
  input  wire [7:0] w,
  output wire [15:0] p
);
  wire n0 = a[6] & w[4];
  wire n1 = ~(a[7] & w[4]);
  wire n2 = a[5] & w[5];
  wire n3 = n0 | n2;
  wire n4 = n0 & n2;
  wire n5 = a[6] & w[5];
  wire n6 = n1 ^ n5;
  wire n7 = n5 & n6;
  wire n8 = ~(n4 ^ n6);
  wire n9 = n4 | n7;
  wire n10 = ~(a[7] & w[5]);
  wire n11 = n1 ^ n10;
  wire n12 = n1 & n10;
  wire n13 = n9 | n11;
  wire n14 = a[4] & w[6];
  wire n15 = n3 | n14;
  wire n16 = n3 & n14;
  wire n17 = a[5] & w[6];
  wire n18 = n8 ^ n17;
  wire n19 = n8 & n17;
  wire n20 = n16 ^ n18;
  wire n21 = n16 & n18;
  wire n22 = n19 | n21;
  wire n23 = a[6] & w[6];
  wire n24 = n13 ^ n23;
  wire n25 = n13 & n23;
  wire n26 = n22 ^ n24;
  wire n27 = n22 & n24;
  wire n28 = n25 | n27;
  wire n29 = ~(a[7] & w[6]);
  wire n30 = n12 ^ n29;
  wire n31 = n12 & n29;
  wire n32 = n28 | n30;
  wire n33 = ~(a[7] & w[7]);
  wire n34 = n15 & n33;
  wire n35 = n15 | n33;
  wire n36 = ~(a[4] & w[7]);
  wire n37 = n20 ^ n36;
  wire n38 = n20 & n36;
  wire n39 = n35 & n37;
  wire n40 = n38 | n39;
  wire n41 = ~n39;
  wire n42 = ~(a[5] & w[7]);
  wire n43 = n26 ^ n42;
  wire n44 = n26 & n42;
  wire n45 = n40 ^ n43;
  wire n46 = n40 & n43;
  wire n47 = n44 | n46;
  wire n48 = ~(a[6] & w[7]);
  wire n49 = n32 ^ n48;
  wire n50 = n47 ^ n49;
  wire n51 = n47 & n48;
  wire n52 = a[7] & w[7];
  wire n53 = n31 & n51;
  wire n54 = n52 | n53;
  wire n55 = ~n54;
  assign p[0] = 1'b1;
  assign p[1] = w[5];
  assign p[2] = 1'b1;
  assign p[3] = n42;
  assign p[4] = n37;
  assign p[5] = w[4];
  assign p[6] = n53;
  assign p[7] = a[5];
  assign p[8] = n5;
  assign p[9] = n53;
  assign p[10] = n34;
  assign p[11] = n41;
  assign p[12] = n45;
  assign p[13] = n50;
  assign p[14] = n55;
  assign p[15] = n55;
endmodule
